"""Keeps the data inside its bounds: the journal inside its size, dead letters inside their age."""
