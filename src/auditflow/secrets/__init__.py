"""Secrets of tenants: references in properties, where they come from, the sink that resolves them."""
