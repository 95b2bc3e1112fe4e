"""Decoding refuses or accepts, and what it accepts is one line of JSON that says what the client said."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from auditflow.errors import InvalidRequest
from auditflow.event.time import epoch_ms
from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp, filled

from . import grammar

AT = "2026-01-31T12:00:00.000Z"
SERVERS = {"timestamp": AT, "correlationId": "corr"}


def check(dice: Random) -> None:
    raws = [_raw(dice) for _ in range(dice.randrange(1, 4))]
    decoded = decode(raws, Stamp(AT, "corr"), Limits())
    assert all(isinstance(each.error, InvalidRequest) for each in decoded.rejected)
    assert sorted([*decoded.indexes, *(each.index for each in decoded.rejected)]) == list(range(len(raws)))
    batch = decoded.batch
    assert len(batch.events) == len(batch.ids) == len(batch.tenants) == len(decoded.indexes)
    for index, event, event_id in zip(decoded.indexes, batch.events, batch.ids, strict=True):
        assert b"\n" not in event
        assert b"\r" not in event
        stored, given = _fields(event), _fields(raws[index])
        assert stored["timestamp"] == AT
        assert stored["eventId"].lower() == event_id
        assert stored == given | _time_kept(given) | {
            "timestamp": AT,
            "eventId": stored["eventId"],
            "correlationId": stored["correlationId"],
        }
        assert stored["eventId"] == (given.get("eventId") or stored["eventId"])
        assert stored["correlationId"] == (
            (str(given.get("correlationId") or "").strip() and given["correlationId"]) or "corr"
        )


def _time_kept(given: dict[str, Any]) -> dict[str, Any]:
    """Give the fields under which the client's own `timestamp` is stored."""
    said = given.get("timestamp")
    if said is None:
        return {}
    if not filled(given.get("eventTime")) and isinstance(said, str) and _is_time(said):
        return {"eventTime": said}
    return {"clientTimestamp": given.get("clientTimestamp", said)}


def _is_time(text: str) -> bool:
    try:
        epoch_ms(text)
    except (ValueError, OverflowError):
        return False
    return True


def _raw(dice: Random) -> bytes:
    raw = grammar.written(dice, grammar.event(dice) if dice.random() < 0.9 else grammar.value(dice)).encode()
    return grammar.mutated(dice, raw) if dice.random() < 0.5 else raw


def _fields(raw: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(raw, parse_float=str)
    return fields
