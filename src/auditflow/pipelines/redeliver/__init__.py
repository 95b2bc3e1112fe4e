"""Delivers events once more: dead letters, ranges of the journal, what a fallback took."""
