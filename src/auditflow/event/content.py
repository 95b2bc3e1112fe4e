"""Tells whether two events with one id say the same."""

from __future__ import annotations

import json
from decimal import Context, Decimal
from typing import Any, Final

import msgspec

SERVERS: Final = ("timestamp", "correlationId")
"""Fields that the server may have made: they say nothing of what was published."""
LARGEST_INTEGER: Final = 30
"""Digits up to which a number that ends in zeros is written out."""


def same_content(stored: bytes, offered: bytes) -> bool:
    """Tell whether two stamped events with one id say the same, whatever the server stamped on each.

    They are compared as JSON: key order, white space and the letter case of the id do not count, true is not 1,
    and numbers are equal when they are the same number, to the last digit. For the rare case that an id is seen
    again.
    """
    return _canonical(stored) == _canonical(offered)


def _canonical(event: bytes) -> bytes:
    """Write an event so that two that say the same are the same bytes."""
    try:
        fields: dict[str, Any] = _decode(event)
        return _encode(_client_part(fields))
    except (ValueError, OverflowError, msgspec.MsgspecError):  # unpaired surrogates, integers over 64 bits
        fields = json.loads(event, parse_float=_tagged, parse_int=_tagged)
        return json.dumps(_client_part(fields), sort_keys=True).encode()


def _client_part(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name not in SERVERS}
    if isinstance(kept.get("eventId"), str):
        kept["eventId"] = kept["eventId"].lower()
    return kept


def _number(text: str) -> int | Decimal:
    """Read a number exactly, and so that equal ones are written alike."""
    number = Decimal(text)
    plain = number.normalize(Context(prec=len(text)))
    whole = plain.as_tuple().exponent
    if isinstance(whole, int) and whole >= 0 and plain.adjusted() < LARGEST_INTEGER:
        return int(plain)
    return plain


def _tagged(text: str) -> str:
    return f"\0number {_number(text)}"


_decode = msgspec.json.Decoder(float_hook=_number).decode
_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
