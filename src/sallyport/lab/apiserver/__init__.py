"""The embedded control plane: a small Kubernetes API server in memory, for the lab and for tests."""

from sallyport.lab.apiserver.http import Server

__all__ = ["Server"]
