"""The events that are published, and the HTTP requests made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice

from uuid_utils import uuid4

from auditflow.testing.sample_events import sample_events

POOL = 20_000
"""So many different events; from then on the same again, under new ids."""
NDJSON = "application/x-ndjson"
JSON = "application/json"
TENANT = "tenant-%03d"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) audit/1.4"


def fresh(number: int, tenant: Callable[[int], int] = lambda n: n % 20, start: int = 0) -> list[bytes]:
    """Make events of about 457 bytes, each with an id of its own, of the tenant that its number gives."""
    tails = zip(range(start, start + number), _around(_pool(), start), strict=False)
    return _with_ids(b'"tenantId":"%s",%s' % ((TENANT % tenant(n)).encode(), tail) for n, tail in tails)


def sized(number: int, size: int) -> list[bytes]:
    """Make events of `size` bytes: sample events, packed into one where they are large."""
    if size <= _SMALL:
        return _with_ids(islice(_around(_small(size), 0), number))
    return _with_ids(islice(_around(_large(size), 0), number))


def requests(bodies: Iterable[bytes], path: str, kind: str, headers: bytes = b"") -> list[bytes]:
    """Make whole HTTP requests; `headers`, if any, end with CRLF."""
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n"
    return [head % (path.encode(), kind.encode(), headers, len(body)) + body for body in bodies]


def batches(events: Sequence[bytes], size: int) -> Iterator[bytes]:
    """Join `size` events each, as NDJSON."""
    return (b"\n".join(events[start : start + size]) for start in range(0, len(events), size))


def endless(size: int) -> Iterator[bytes]:
    """Make requests to AuditFlow of `size` events, without end."""
    for start in count(0, size):
        yield from requests(batches(fresh(size, start=start), size), "/audit/publish", NDJSON)


_SMALL = 300


def _with_ids(tails: Iterable[bytes]) -> list[bytes]:
    return [b'{"eventId":"%s",%s' % (str(uuid4()).encode(), tail) for tail in tails]


def _around(pool: Sequence[bytes], start: int) -> Iterator[bytes]:
    return (pool[number % len(pool)] for number in count(start))


def _tail(event: dict[str, object]) -> bytes:
    """Give an event as compact JSON without its opening brace."""
    return json.dumps(event, separators=(",", ":")).encode()[1:]


@cache
def _pool() -> list[bytes]:
    start = datetime.now(UTC) - timedelta(milliseconds=33 * POOL)  # they end about now
    tails = []
    for event in islice(sample_events(start=start), POOL):
        event["extra"]["userAgent"] = AGENT
        tails.append(_tail(event))
    return tails


@cache
def _small(size: int) -> list[bytes]:
    tails = []
    for event in islice(sample_events(), 2000):
        kept = {name: event[name] for name in ("eventType", "sourceSystem", "eventTime")}
        bare = len(_with_ids(iter([_tail(kept | {"extra": {"note": ""}})]))[0])
        tails.append(_tail(kept | {"extra": {"note": event["extra"]["sessionId"] * 20}}))
        tails[-1] = _tail(kept | {"extra": {"note": (event["extra"]["sessionId"] * 20)[: size - bare]}})
    return tails


@cache
def _large(size: int) -> list[bytes]:
    tails = []
    source = sample_events()
    for event in islice(sample_events(2), 8):
        packed: list[object] = []
        length = 0
        while length < size:
            packed.append(next(source))
            length += len(json.dumps(packed[-1], separators=(",", ":"))) + 1
        tails.append(_tail(event | {"extra": {"items": packed[:-1]}}))
    return tails
