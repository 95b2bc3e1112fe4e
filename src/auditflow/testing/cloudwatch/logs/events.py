"""PutLogEvents and GetLogEvents."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from auditflow.testing.cloudwatch.logs import limits
from auditflow.testing.cloudwatch.logs.state import Given, Record, Region, Stream
from auditflow.testing.cloudwatch.protocol import invalid
from auditflow.testing.cloudwatch.traffic import Request

_MEMBERS: Final = {"timestamp", "message"}
_DAY_MS: Final = 86_400_000


def put_log_events(region: Region, given: Given, request: Request) -> Given:
    """Store a batch, or as much of it as the time window lets in; notes sizes in `request`."""
    batch = given["logEvents"]
    request.events = len(batch)
    sizes = [_event_size(index, event) for index, event in enumerate(batch)]
    request.bytes = sum(sizes)
    _check_sizes(sizes, request.bytes)
    times = [event["timestamp"] for event in batch]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    group = region.group(given["logGroupName"])
    stream = region.stream(group.name, given["logStreamName"])
    start, end, rejected = _window(times, region.now(), group.retention)
    if start < end and times[end - 1] - times[start] > limits.MAX_SPAN_MS:
        raise invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )
    _store(region, stream, batch[start:end])
    group.stored_bytes += sum(sizes[start:end])
    request.stored = max(end - start, 0)
    answer: Given = {"nextSequenceToken": f"{region.ordinal:056d}"}
    if rejected:
        answer["rejectedLogEventsInfo"] = rejected
    return answer


def _event_size(index: int, event: Any) -> int:
    """Check one event's shape and give its bytes as the service counts them."""
    if type(event) is not dict:
        raise limits.wrong_type(f"logEvents.{index + 1}", event, dict)
    if event.keys() != _MEMBERS:
        odd = sorted(event.keys() ^ _MEMBERS)
        raise invalid(
            f"'logEvents.{index + 1}' must have exactly the members message and timestamp: see {odd}"
        )
    timestamp, message = event["timestamp"], event["message"]
    if type(timestamp) is not int:
        raise limits.wrong_type(f"logEvents.{index + 1}.timestamp", timestamp, int)
    if type(message) is not str:
        raise limits.wrong_type(f"logEvents.{index + 1}.message", message, str)
    if timestamp < 0 or not message:
        name = "message" if timestamp >= 0 else "timestamp"
        constraint = "have length greater than or equal to 1" if name == "message" else "be at least 0"
        raise invalid(
            f"1 validation error detected: Value '{event[name]}' at 'logEvents.{index + 1}.member.{name}' "
            f"failed to satisfy constraint: Member must {constraint}"
        )
    # A lone surrogate has no UTF-8; it is counted as the three bytes that its code point would take.
    length = len(message) if message.isascii() else len(message.encode("utf-8", "surrogatepass"))
    return length + limits.EVENT_OVERHEAD


def _check_sizes(sizes: Sequence[int], total: int) -> None:
    largest = max(sizes)
    if largest > limits.MAX_EVENT_BYTES:
        raise invalid(f"Log event too large: {largest} bytes exceeds limit of {limits.MAX_EVENT_BYTES}")
    if total > limits.MAX_BATCH_BYTES:
        raise invalid(f"Upload too large: {total} bytes exceeds limit of {limits.MAX_BATCH_BYTES}")


def _window(times: Sequence[int], now: int, retention: int | None) -> tuple[int, int, dict[str, int]]:
    """Give the range of events to store and the rejectedLogEventsInfo of the others.

    The two end indexes are exclusive, the start index is inclusive. Each states its own rule: an event that
    is older than both 14 days and the retention counts for both.
    """
    rejected: dict[str, int] = {}
    too_old = bisect_left(times, now - limits.MAX_AGE_MS)
    expired = bisect_left(times, now - retention * _DAY_MS) if retention else 0
    too_new = bisect_right(times, now + limits.MAX_AHEAD_MS)
    if too_new < len(times):
        rejected["tooNewLogEventStartIndex"] = too_new
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    return max(too_old, expired), too_new, rejected


def _store(region: Region, stream: Stream, batch: Sequence[Given]) -> None:
    now, first = region.now(), region.ordinal + 1
    stream.extend(
        [
            Record(event["timestamp"], ordinal, now, event["message"], stream.name)
            for ordinal, event in enumerate(batch, start=first)
        ]
    )
    region.ordinal += len(batch)


def get_log_events(region: Region, given: Given) -> Given:
    """Read one stream, from either end, a page at a time."""
    group = region.addressed(given)
    records = region.stream(group.name, given["logStreamName"]).records()
    start = bisect_left(records, given.get("startTime", 0), key=_time)
    end = bisect_left(records, given["endTime"], key=_time) if "endTime" in given else len(records)
    direction, _, position = given.get("nextToken", "").partition("/")
    if direction == "f":
        start = max(start, bisect_right(records, position, key=_position))
    elif direction == "b":
        end = min(end, bisect_left(records, position, key=_position))
    elif direction:
        raise invalid("The specified nextToken is invalid.")
    forward = direction == "f" or (not direction and given.get("startFromHead", False))
    start, end = _cut(records, start, end, given.get("limit", limits.MAX_PAGE_EVENTS), forward=forward)
    return {
        "events": [_shown(record) for record in records[start:end]],
        **_tokens(records, start, end, given),
    }


def _tokens(records: Sequence[Record], start: int, end: int, given: Given) -> dict[str, str]:
    """Name the places on either side of a page; at the end of a stream, the token that was given."""
    if start < end:
        return {
            "nextForwardToken": f"f/{records[end - 1].event_id}",
            "nextBackwardToken": f"b/{records[start].event_id}",
        }
    place = given.get("nextToken", "f/").partition("/")[2] or "0" * 56
    return {"nextForwardToken": f"f/{place}", "nextBackwardToken": f"b/{place}"}


def _cut(records: Sequence[Record], start: int, end: int, limit: int, *, forward: bool) -> tuple[int, int]:
    """Shorten the range, from its far end, to one page."""
    step, near = (1, start) if forward else (-1, end - 1)
    taken, size = 0, 0
    while taken < min(limit, end - start):
        size += page_size(records[near + step * taken])
        if size > limits.MAX_PAGE_BYTES and taken:
            break
        taken += 1
    return (start, start + taken) if forward else (end - taken, end)


def page_size(record: Record) -> int:
    """Give the bytes that a record takes of an answer's size."""
    return len(record.message.encode("utf-8", "surrogatepass")) + limits.EVENT_OVERHEAD


def _shown(record: Record) -> Given:
    return {
        "timestamp": record.timestamp,
        "message": record.message,
        "ingestionTime": record.ingestion_time,
    }


def _time(record: Record) -> int:
    return record.timestamp


def _position(record: Record) -> str:
    return record.event_id
