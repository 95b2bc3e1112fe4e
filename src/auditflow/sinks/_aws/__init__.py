"""What AWS destinations share: sessions, properties, the request log."""
