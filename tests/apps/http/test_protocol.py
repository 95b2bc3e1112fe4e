"""Small publish calls take a short way, and nobody can tell by the answers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from auditflow.apps.http import protocol
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal

EVENT = b'{"eventType":"a","sourceSystem":"b"}'


def request(
    body: bytes = EVENT, *headers: bytes, path: bytes = b"/audit/publish", version: bytes = b"1.1"
) -> bytes:
    lines = [b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"POST %b HTTP/%b\r\n%b\r\n\r\n%b" % (path, version, b"\r\n".join(lines), body)


@asynccontextmanager
async def served(app: Any = None) -> AsyncIterator[tuple[Any, MemoryJournal]]:
    journal = MemoryJournal()
    server = Server(app or Publish(journal, Limits()), 5)
    listener = bind("127.0.0.1", 0, "--port")
    running = asyncio.create_task(server.run_on(listener))
    try:
        yield listener.getsockname(), journal
    finally:
        server.stop()
        await running


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.rstrip().split(b"\r\n")
    headers = {name.lower(): value for name, value in (line.split(b": ", 1) for line in lines)}
    return int(status.split()[1]), headers, await reader.readexactly(int(headers[b"content-length"]))


async def test_one_connection_serves_many_calls_small_and_large():
    async with served() as (address, journal):
        reader, writer = await asyncio.open_connection(*address)
        large = json.dumps(
            {"eventType": "a", "sourceSystem": "b", "extra": {"text": "x" * protocol.SMALL}}
        ).encode()
        for body in (EVENT, large, EVENT, b"nonsense", EVENT):
            writer.write(request(body))
            status, headers, said = await answer(reader)
            assert (status, b"date" in headers, headers[b"x-content-type-options"]) == (
                400 if body == b"nonsense" else 200, True, b"nosniff",
            )  # fmt: skip
            assert json.loads(said)["timestamp"]
        writer.close()
        assert journal.head() == 5


async def test_a_call_that_comes_byte_by_byte_is_served():
    async with served() as (address, journal):
        reader, writer = await asyncio.open_connection(*address)
        for place in range(len(request())):
            writer.write(request()[place : place + 1])
            await writer.drain()
        assert (await answer(reader))[0] == 200
        writer.close()
        assert journal.head() == 2


async def test_calls_sent_without_waiting_are_answered_in_order():
    async with served() as (address, journal):
        reader, writer = await asyncio.open_connection(*address)
        ids = [b"0190163d-8694-739b-aea5-966c26f8ad9%d" % n for n in range(6)]
        writer.write(b"".join(request(EVENT[:-1] + b',"eventId":"%b"}' % event_id) for event_id in ids))
        for event_id in ids:
            status, headers, _ = await answer(reader)
            assert (status, headers[b"x-audit-event-id"]) == (200, event_id)
        writer.close()
        assert journal.head() == 7


@pytest.mark.parametrize("headers", [(b"Connection: close",), ()])
async def test_the_connection_ends_when_the_client_wants_it(headers: tuple[bytes, ...]):
    async with served() as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request(EVENT, *headers, version=b"1.1" if headers else b"1.0"))
        status, said, _body = await answer(reader)
        assert (status, said[b"connection"]) == (200, b"close")
        assert await reader.read() == b""
        writer.close()


async def test_what_is_not_small_and_plain_goes_the_usual_way():
    async with served() as (address, journal):
        for odd in (
            request(EVENT, b"Expect: 100-continue"),
            request(EVENT).replace(b"Content-Length: %d" % len(EVENT), b"Transfer-Encoding: chunked").replace(
                EVENT, b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)
            ),
            request(EVENT).replace(b"POST", b"PUT"),
        ):  # fmt: skip
            reader, writer = await asyncio.open_connection(*address)
            writer.write(odd)
            status, _, _ = await answer(reader) if b"Expect" not in odd else await continued(reader)
            assert status == (405 if b"PUT" in odd else 200)
            writer.close()
        assert journal.head() == 3


async def continued(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes], bytes]:
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    return await answer(reader)


async def test_a_client_that_leaves_before_its_call_is_whole_leaves_nothing_behind():
    async with served() as (address, journal):
        _, writer = await asyncio.open_connection(*address)
        writer.write(request()[:-5])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        with socket.create_connection(address) as other:
            other.sendall(request(EVENT, b"Connection: close"))
            assert await asyncio.to_thread(other.recv, 15) == b"HTTP/1.1 200 OK"
        assert journal.head() == 2


async def test_an_app_that_fails_closes_the_connection():
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    async with served(broken) as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request())
        assert await reader.read() == b""
        writer.close()
