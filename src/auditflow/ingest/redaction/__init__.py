"""Redaction: what is masked, hashed or dropped before anything is stored."""
