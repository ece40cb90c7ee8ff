"""A node looked at before it works for us: what its kernel can do, and who else uses it."""
