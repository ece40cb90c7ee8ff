"""The demonstration, `make demo`: both of the product's jobs on real packets."""
