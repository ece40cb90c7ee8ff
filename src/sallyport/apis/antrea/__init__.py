"""Antrea's Egress and ExternalIPPool: types, checks, and what they mean in the model."""
