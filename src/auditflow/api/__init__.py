"""What is asked over HTTP besides publishing: probes, status, metrics, and the sink service."""
