"""Contract suites: every journal, ledger and sink passes them."""
