"""Sinks: one file per destination, each with its properties and its sink.

A file's name is the sink's name; the folder is the catalogue. Files that begin with an underscore are parts
that sinks share: ``_base`` the contract, ``_http`` and ``_aws`` what destinations of a kind have in common.
"""
