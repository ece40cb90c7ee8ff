"""Access to the Kubernetes API: credentials, requests, watches, server-side apply, events and leases."""
