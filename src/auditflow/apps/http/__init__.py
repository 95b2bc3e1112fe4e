"""The HTTP server inside our own event loop."""
