"""Delivers batches to a destination until every event has ended."""
