"""Pipelines: each one reads the journal, decides per event, hands batches to its sink, records outcomes.

``pipeline`` is that sentence as code, and the rooms are in its order: ``read`` reads the journal once for all
pipelines, ``decide`` holds condition, sampling and transformers, ``deliver`` brings a batch to its end at a
destination, ``record`` writes what became of every event, ``redeliver`` delivers some once more: dead letters,
ranges of the journal, what a fallback took.
"""
