"""Composition roots: what a process is made of, how it starts, how it stops.

``serve`` starts what the command line asks for; ``supervisor`` keeps the two roles running; ``ingest`` and
``delivery`` are the roles, each a process over the same data directory.
"""
