"""The lab's control plane: the embedded API server, or Kubernetes' own programs."""
