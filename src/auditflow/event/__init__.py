"""The audit event: its fields and limits, its time, reading some of it, dividing and joining it."""
