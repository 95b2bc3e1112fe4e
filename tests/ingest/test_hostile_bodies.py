"""Whatever one request brings, others are served meanwhile: it holds the event loop for some milliseconds at a time."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal

MIB = 2**20
EVENT = b'{"eventType":"a","sourceSystem":"b"}'
EMPTY = gzip.compress(b"", mtime=0)


def events(more: bytes, count: int = 10_000) -> bytes:
    return b"[" + b",".join([EVENT[:-1] + more + b"}"] * count) + b"]"


def one(more: bytes) -> bytes:
    return EVENT[:-1] + b"," + more + b"}"


BODIES = {
    "numbers": b"[" + b"1," * (8 * MIB - 2) + b"1]",
    "numbers without end": b"[" + b"1," * (8 * MIB - 2),
    "empty objects": b"[" + b"{}," * (5 * MIB) + b"{}]",
    "empty lists": b"[" + b"[]," * (5 * MIB) + b"[]]",
    "texts": b"[" + b'"",' * (5 * MIB) + b'""]',
    "a list in a list": b"[[" + b"1," * (8 * MIB - 4) + b"1]]",
    "line ends": b"\n" * (16 * MIB - 1),
    "braces on lines": b"{\n" * (8 * MIB - 1),
    "carriage returns": b"\r\n" * (8 * MIB - 1),
    "blanks": b" " * (16 * MIB - 1),
    "events with null ids": events(b',"correlationId":null,"eventId":null'),
    "events with a time of their own": events(b',"timestamp":"2026-01-31T12:00:00Z"'),
    "events with names in their values": events(b',"extra":{"tenantId":"x","eventType":"y"}'),
    "invalid events": events(b',"eventId":"x"'),
    "one with many fields": one(b",".join(b'"k%d":1' % n for n in range(300_000))),
    "one with an escaped name": one(b'"tenant\\u0049d":"x","a":[' + b"1," * MIB + b"1]"),
    "one with a repeated name": one(b'"tenantId":"a","tenantId":"b","a":[' + b"1," * MIB + b"1]"),
    "one with escaped texts": one(b'"a":[' + b'"\\u0041",' * (MIB // 4) + b'""]'),
    "one in many lines": one(b'"a":[' + b"1,\n" * MIB + b"1]"),
}


async def longest_hold(body: bytes, encoding: bytes, kind: bytes) -> tuple[int, float]:
    """Publish; give the status and the longest CPU time (s) in which nobody else had a turn."""
    publish = Publish(MemoryJournal(), Limits())
    statuses = []
    longest = 0.0
    last = time.thread_time()

    async def others() -> None:
        nonlocal longest, last
        while True:
            now = time.thread_time()
            longest, last = max(longest, now - last), now
            await asyncio.sleep(0)

    chunks = [body[start : start + 65_536] for start in range(0, len(body), 65_536)] or [b""]
    feed = iter([{"type": "http.request", "body": each, "more_body": True} for each in chunks])

    async def receive():
        return next(feed, {"type": "http.request", "body": b"", "more_body": False})

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"content-type", kind), (b"content-encoding", encoding)]
    scope = {"type": "http", "method": "POST", "path": "/audit/publish", "headers": headers}
    waiting = asyncio.create_task(others())
    await asyncio.sleep(0)
    await publish(scope, receive, send)
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    return statuses[0], longest


pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    """Leave out what the tests before have left to be looked through; a server has frozen it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def most_seconds() -> float:
    """Give the CPU time in which this machine makes an object of each of two million numbers: a tenth of a second or two."""
    began = time.thread_time()
    msgspec.json.decode(b"[" + b"1," * (2 * MIB) + b"1]", type=list[msgspec.Raw])
    return time.thread_time() - began


@pytest.mark.parametrize("kind", [b"application/json", b"application/x-ndjson"])
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_of_some_kilobytes_or_megabytes_holds_nobody_up(name: str, kind: bytes, most_seconds):
    body = BODIES[name]
    status, held = await longest_hold(gzip.compress(body, 1, mtime=0), b"gzip", kind)
    assert held < most_seconds
    assert status in {200, 400, 413, 422}
    assert (await longest_hold(body, b"identity", kind))[0] == status


@pytest.mark.parametrize("members", [20_000, 800_000])
async def test_empty_gzip_members_are_counted(members: int, most_seconds):
    status, held = await longest_hold(
        EMPTY * min(members, 16 * MIB // len(EMPTY)), b"gzip", b"application/json"
    )
    assert (status, held < most_seconds) == (400, True)


async def test_what_a_large_array_holds_is_cut_as_a_small_one_is(most_seconds):
    more = b',"extra":{"a":[' + b",".join([b"1"] * 40) + b'],"b":"],[{\\"},"}'
    status, held = await longest_hold(events(more), b"identity", b"application/json")
    assert (status, held < most_seconds) == (200, True)
    assert json.loads(events(more))
