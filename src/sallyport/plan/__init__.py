"""Decisions, as pure functions: a cluster's state to its plan, and a node's facts to what its kernel is to hold."""
