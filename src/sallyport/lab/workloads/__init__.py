"""Deployments and ReplicaSets, as kube-controller-manager runs them on a real control plane. No part of the product."""
