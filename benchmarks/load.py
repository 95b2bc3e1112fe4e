"""Publishes prepared requests over a number of connections as fast as they are answered."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, takewhile
from threading import Event
from urllib.parse import urlsplit

from uuid_utils import uuid4

from auditflow.testing.sample_events import sample_events


def lines(count: int) -> list[bytes]:
    """Make events, each with an id of its own, as compact JSON."""
    events = islice(sample_events(), count)
    return [
        json.dumps({"eventId": str(uuid.uuid4())} | event, separators=(",", ":")).encode() for event in events
    ]


def requests(events: list[bytes], size: int) -> list[bytes]:
    """Make whole HTTP requests of `size` events each."""
    made = []
    for start in range(0, len(events), size):
        body = b"\n".join(events[start : start + size])
        kind = b"application/x-ndjson" if size > 1 else b"application/json"
        head = b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        made.append(head % (kind, len(body)) + body)
    return made


def endless(size: int) -> Iterator[bytes]:
    """Make requests of `size` events without end: the same events each time, under new ids."""
    tails = [line.partition(b",")[2] for line in lines(size)]
    while True:
        yield from requests([b'{"eventId":"%s",%s' % (str(uuid4()).encode(), tail) for tail in tails], size)


@contextmanager
def steady(url: str, size: int, connections: int) -> Iterator[None]:
    """Publish without end, from a thread, as fast as requests are answered."""
    ended = Event()
    made = takewhile(lambda _: not ended.is_set(), endless(size))
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(lambda: asyncio.run(send(url, made, connections)))
        try:
            yield
        finally:
            ended.set()
        sending.result()


async def send(url: str, made: Iterable[bytes], connections: int) -> list[float]:
    """Send all requests; give the seconds each took to be answered. Raises when one is not answered with 200."""
    waiting = iter(made)
    address = urlsplit(url)
    seconds: list[float] = []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for request in waiting:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise RuntimeError((head + body).decode())
            seconds.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    return seconds
