"""Works out where in CloudWatch Logs a message would be, without asking AWS."""
# Tested in tests/cli/explain/test_explanation.py.

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from auditflow.cli._shared.configuration import region_of
from auditflow.event.time import event_time
from auditflow.sinks._base import Outcome
from auditflow.sinks.aws_cloudwatch_sink import times as times_of
from auditflow.sinks.aws_cloudwatch_sink.packing import OVERHEAD
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.shaping import OUT_OF_WINDOW, Shaper

_DAY = 24 * 3600 * 1000
"""Milliseconds."""


def placed(message: bytes, properties: CloudWatchProperties) -> dict[str, Any]:
    """Give place, size, time and what is done to a message to make it fit."""
    now = times_of.now()
    shaper = Shaper(properties)
    shaped = shaper.shape([message], now)
    log_group, log_stream = shaper.stream_of(message)
    own = event_time(message, now)
    moment = shaped.times[0]
    refused = shaped.refused.get(0)
    late = None if properties.timestamp == "delivery" else _out_of_window(own, now, properties)
    if late and properties.out_of_window == "dead-letter":
        refused = refused or late
    elif late:
        moment = now
    return {
        "region": region_of(properties),
        "logGroup": log_group,
        "logStream": log_stream,
        "bytes": len(message) + OVERHEAD,
        "time": _iso(moment),
        "clamped": {"from": _iso(own), "reason": late.reason} if late and not refused else None,
        "parts": [shaped.sizes[at] for at in shaped.parts.get(0, ())],
        "refused": {"code": refused.code, "reason": refused.reason, "hint": refused.hint}
        if refused
        else None,
    }


def placed_as_text(place: dict[str, Any]) -> Iterator[str]:
    """Write what `placed` gives for people."""
    where = f"log group {place['logGroup']}, log stream {place['logStream']}, region {place['region']}"
    if place["refused"]:
        yield f"refused, a dead letter: {place['refused']['code']}: {place['refused']['reason']}"
        yield f"  hint: {place['refused']['hint']}"
        yield f"it would have gone to {where}"
        return
    yield where
    yield f"{place['bytes']:,} bytes as CloudWatch Logs counts them, filed under {place['time']}"
    if place["clamped"]:
        yield f"clamped: its own time is {place['clamped']['from']}; {place['clamped']['reason']}"
    if place["parts"]:
        sizes = ", ".join(f"{size:,}" for size in place["parts"])
        yield f"split into {len(place['parts'])} linked parts of {sizes} bytes"


def _out_of_window(own: int, now: int, properties: CloudWatchProperties) -> Outcome | None:
    """Say why the event's own time would not be kept. The retention is known when it is the sink that sets it."""
    kept = properties.retention_in_days
    if list(times_of.clamp([own], now)) == [own]:
        return OUT_OF_WINDOW["EXPIRED"] if kept and own < now - kept * _DAY else None
    if properties.out_of_window == "dead-letter" and now - times_of.OLDEST <= own <= now + times_of.NEWEST:
        return None  # at the very edge, where it is tried
    return OUT_OF_WINDOW["TOO_OLD" if own < now else "TOO_NEW"]


def _iso(moment: int) -> str:
    """Write Unix milliseconds as RFC 3339; a year that has none as the number."""
    try:
        at = datetime.fromtimestamp(moment / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(moment)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
