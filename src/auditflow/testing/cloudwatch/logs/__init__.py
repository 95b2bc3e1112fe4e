"""CloudWatch Logs: its operations, limits and state."""
