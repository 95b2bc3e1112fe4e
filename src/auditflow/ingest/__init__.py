"""Ingest: publish calls become a batch of stamped events, answered when the journal has them.

``body`` reads a request within its limits, ``decode`` validates and stamps, ``publish`` is the HTTP call.
"""
