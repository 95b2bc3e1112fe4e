"""Logs Insights: queries and their expressions."""
