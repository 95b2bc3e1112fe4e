"""Transform: one file per transformer, found by `auditflow.plugins`."""
