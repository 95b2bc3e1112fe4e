"""Texts that come from outside: the environment, files, secret sources. One rule for all of them."""

from __future__ import annotations


def without_line_end(text: str) -> str:
    """Give a text from outside without the line ends at its end, which `echo` writes and nobody means."""
    return text.rstrip("\r\n")


def is_text(value: str) -> bool:
    """Tell whether a value from the environment was UTF-8: Python puts lone surrogates for other bytes."""
    return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)
