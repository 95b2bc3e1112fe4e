"""SQLite files, as journal and ledger use them: opening, statements by name, faults in our words."""
