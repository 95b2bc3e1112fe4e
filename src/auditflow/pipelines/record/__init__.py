"""Records the outcome of every event in the ledger."""
