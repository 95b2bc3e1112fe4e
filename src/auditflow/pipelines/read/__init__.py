"""Reads blocks of the journal once for all pipelines."""
