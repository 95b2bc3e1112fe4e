"""Decides which events a pipeline takes, and what its sink gets of them."""
