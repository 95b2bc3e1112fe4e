"""Names of metrics and the shape of log lines, declared once."""
