"""FilterLogEvents and its patterns."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from heapq import merge
from typing import Final

from auditflow.testing.cloudwatch.insights import expressions
from auditflow.testing.cloudwatch.logs import limits
from auditflow.testing.cloudwatch.logs.events import page_size
from auditflow.testing.cloudwatch.logs.state import Given, Group, Record, Region
from auditflow.testing.cloudwatch.protocol import invalid

_SCAN: Final = 10_000
"""Events looked at for one page: a page of a search for something rare is empty and has a nextToken."""
_TERM: Final = re.compile(r'\s*([-?]?)(?:"((?:\\.|[^"\\])*)"|([^\s"]+))')
_BARE: Final = re.compile(r"\w+")

Matches = Callable[[str], bool]


def filter_log_events(region: Region, given: Given) -> Given:
    """Search the streams of a group, in order of time, a page at a time."""
    group = region.addressed(given)
    matches = pattern(given.get("filterPattern", ""))
    records = _candidates(group, given)
    backward = not given.get("startFromHead", True)
    direction, place, _ = _token(given)
    if direction not in {"", "f", "b"}:
        raise invalid("The specified nextToken is invalid.")
    if direction == "f":
        records = records[bisect_right(records, place, key=_position) :]
    elif direction == "b":
        records = records[: bisect_left(records, place, key=_position)]
    backward = direction == "b" or (not direction and backward)
    return _scan(records[::-1] if backward else records, matches, given, "b" if backward else "f")


def _scan(records: list[Record], matches: Matches, given: Given, direction: str) -> Given:
    limit, size, scanned, found = given.get("limit", limits.MAX_PAGE_EVENTS), 0, 0, list[Record]()
    for record in records[:_SCAN]:
        if matches(record.message):
            size += page_size(record)
            if len(found) == limit or (found and size > limits.MAX_PAGE_BYTES):
                break
            found.append(record)
        scanned += 1
    answer: Given = {"events": [_shown(record) for record in found], "searchedLogStreams": []}
    if scanned < len(records):
        # Named by the last event looked at, so that events arriving meanwhile shift nothing.
        answer["nextToken"] = f"{direction}/{records[scanned - 1].event_id}"
    return answer


def empty_page(region: Region, given: Given) -> Given:
    """Give a page without events, from which the same search goes on; clients refuse the same token twice."""
    region.addressed(given)
    direction, place, repeat = _token(given)
    if not direction:
        direction, place = ("f", "0" * 56) if given.get("startFromHead", True) else ("b", "9" * 56)
    token = f"{direction}/{place}/{int(repeat or 0) + 1}"
    return {"events": [], "searchedLogStreams": [], "nextToken": token}


def _token(given: Given) -> tuple[str, str, str]:
    """Take a nextToken apart: direction, place and, after an empty page, which one."""
    direction, _, rest = given.get("nextToken", "").partition("/")
    place, _, repeat = rest.partition("/")
    return direction, place, repeat


def _candidates(group: Group, given: Given) -> list[Record]:
    """Give the records of the wanted streams and times, in order."""
    prefix, names = given.get("logStreamNamePrefix"), given.get("logStreamNames")
    if prefix is not None and names is not None:
        raise invalid("Either logStreamNamePrefix or logStreamNames can be specified, not both.")
    streams = [
        stream
        for name, stream in group.streams.items()
        if name.startswith(prefix or "") and (names is None or name in names)
    ]
    runs = (_between(stream.records(), given) for stream in streams)
    return list(merge(*runs))


def _between(records: list[Record], given: Given) -> list[Record]:
    """Cut out the wanted times. Unlike that of GetLogEvents, the end time is inclusive."""
    start = bisect_left(records, given.get("startTime", 0), key=_time)
    end = bisect_right(records, given["endTime"], key=_time) if "endTime" in given else len(records)
    return records[start:end]


def pattern(text: str) -> Matches:
    """Build the test of a filter pattern: terms, quoted phrases, `?any`, `-none`, or `{ $.field = "value" }`."""
    text = text.strip()
    if text.startswith("{"):
        return _json_pattern(text)
    if text.startswith("["):
        raise invalid("Space-delimited filter patterns are not supported by this server.")
    required, optional, excluded = list[str](), list[str](), list[str]()
    lists = {"": required, "?": optional, "-": excluded}
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise invalid(f"Invalid filter pattern: {text}")
        sign, quoted, bare = match.groups()
        if bare is not None and not _BARE.fullmatch(bare):
            raise invalid(f"Invalid character(s) in term '{bare}'")
        lists[sign].append(bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return lambda message: _has_terms(message, required, optional, excluded)


def _has_terms(message: str, required: Iterable[str], optional: list[str], excluded: Iterable[str]) -> bool:
    return (
        all(term in message for term in required)
        and not any(term in message for term in excluded)
        and (not optional or any(term in message for term in optional))
    )


def _json_pattern(text: str) -> Matches:
    if not text.endswith("}"):
        raise invalid("Invalid filter pattern: it does not end in }")
    try:
        condition = expressions.parse(text[1:-1])
    except (ValueError, re.error) as error:
        raise invalid(f"Invalid filter pattern: {error}") from error
    return lambda message: condition(expressions.fields_of(message))


def _shown(record: Record) -> Given:
    return {
        "logStreamName": record.stream,
        "timestamp": record.timestamp,
        "message": record.message,
        "ingestionTime": record.ingestion_time,
        "eventId": record.event_id,
    }


def _time(record: Record) -> int:
    return record.timestamp


def _position(record: Record) -> str:
    return record.event_id
