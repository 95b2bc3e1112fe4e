"""Publish calls of one turn of the event loop, served together: one decode, one redaction, one append."""
