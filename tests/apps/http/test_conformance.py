"""What HTTP asks of a server, on real sockets: each case is a way in which others were broken or fooled."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
from collections.abc import AsyncIterator
from socket import SO_LINGER, SOL_SOCKET

import pytest

from auditflow.api.guard import App
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.ingest.front.front import Front
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import PATHS, Publish
from auditflow.journal.memory import MemoryJournal

EVENT = b'{"eventType":"auth.login","sourceSystem":"web"}'
OTHER = b'{"eventType":"forged","sourceSystem":"web"}'
HEAD = b"POST /audit/publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def request(body: bytes = EVENT, *lines: bytes) -> bytes:
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (
        HEAD,
        b"".join([line + b"\r\n" for line in lines]),
        len(body),
        body,
    )


def chunked(body: bytes = EVENT, *lines: bytes) -> bytes:
    more = b"".join([line + b"\r\n" for line in lines])
    return b"%b%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (HEAD, more, len(body), body)


class Ingest:
    """A server with a front over a journal in memory."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.publish = Publish(self.journal, Limits())
        self.server = Server(self.app(), 1.0, front=Front(self.publish, None))
        self.listener = bind("127.0.0.1", 0, "--port")
        self.port = self.listener.getsockname()[1]

    def app(self) -> App:
        async def app(scope, receive, send) -> None:
            if scope["path"] in PATHS:
                await self.publish(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"alive"})

        return app

    def stored(self) -> list[str]:
        return [
            json.loads(event)["eventType"] for block in self.journal.read(1, 2**24) for event in block.events
        ]

    async def answers(self, sent: bytes, count: int, *, half: bool = False) -> list[int]:
        """Send bytes; give the statuses of the answers that come, `count` of them or until the server hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            if half:
                writer.write_eof()
            return await asyncio.wait_for(_statuses(reader, count), 60)
        finally:
            writer.close()


async def _statuses(reader: asyncio.StreamReader, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        line = await reader.readline()
        if not line:
            break
        found.append(int(line.split()[1]))
        size = 0
        while (line := await reader.readline()).strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        await reader.readexactly(size)
    return found


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    ingest = Ingest()
    task = asyncio.create_task(ingest.server.run_on(ingest.listener))
    yield ingest
    ingest.server.stop()
    await task


OFFER = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB")


@pytest.mark.parametrize("made", [request, chunked])
@pytest.mark.parametrize("name", [b"Upgrade", b"UPGRADE", b"upgrade "[:-1]])
async def test_an_offer_to_upgrade_is_ignored_and_the_body_is_a_body(ingest: Ingest, made, name: bytes):
    """The JDK's HttpClient makes one with every request."""
    lines = tuple(line.replace(b"Upgrade:", name + b":") for line in OFFER)
    assert await ingest.answers(made(EVENT, *lines) * 2, 2) == [200, 200]
    assert ingest.stored() == ["auth.login"] * 2


async def test_a_body_is_never_taken_for_the_next_request(ingest: Ingest):
    inner = request(OTHER)
    assert await ingest.answers(request(inner, *OFFER) + request(), 2) == [400, 200]
    assert ingest.stored() == ["auth.login"]


async def test_hiding_an_offer_changes_the_length_of_no_chunk(ingest: Ingest):
    """Else a body could make what follows it into a request of its own."""
    body = b'{"eventType":"a.b",\r\nUpgrade: h2c\r\n"sourceSystem":"x"}'
    assert await ingest.answers(chunked(body) + request(), 2) == [400, 200]
    assert ingest.stored() == ["auth.login"]


async def test_the_word_upgrade_in_a_body_stays(ingest: Ingest):
    body = b'{"eventType":"a.b","sourceSystem":"x",\n"upgrade": "h2c"}'
    assert await ingest.answers(request(body), 1) == [200]
    (block,) = ingest.journal.read(1, 2**20)
    assert b'"upgrade": "h2c"' in block.events[0] or b'"upgrade":"h2c"' in block.events[0]


async def test_pipelined_requests_are_answered_in_their_order(ingest: Ingest):
    alive = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
    assert await ingest.answers(request() + request(b"{}") + alive + request(b"[") + request(), 5) == [
        200, 400, 200, 400, 200,
    ]  # fmt: skip


async def test_a_request_may_come_byte_by_byte(ingest: Ingest):
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
    for byte in request(EVENT, *OFFER):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert await asyncio.wait_for(_statuses(reader, 1), 60) == [200]
    writer.close()


async def test_a_half_closed_client_gets_its_answer(ingest: Ingest):
    assert await ingest.answers(request(), 1, half=True) == [200]
    assert await ingest.answers(request() + request(), 2, half=True) == [200, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456", 400),
        (HEAD + b"Content-Length: +5\r\n\r\n12345", 400),
        (HEAD + b"Content-Length : 5\r\n\r\n12345", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /live HTTP/1.1\r\n\r\n", 400),
        (b"GET /live HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /live HTTP/1.1\nHost: x\n\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_what_can_be_understood_in_two_ways_is_refused_and_the_connection_closed(ingest, sent, status):
    assert await ingest.answers(sent + request(OTHER), 2) == [status]
    assert ingest.stored() == []


async def test_http_1_0_needs_no_host_and_ends_with_its_answer(ingest: Ingest):
    assert await ingest.answers(b"GET /live HTTP/1.0\r\n\r\n", 2) == [200]


async def test_who_pipelines_without_reading_is_not_read(ingest: Ingest):
    """The answers fill what the system buffers; from then on nothing more is taken in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ingest.port, limit=2**10)
    reader._transport.pause_reading()
    flood = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000
    stuck = False
    for _ in range(2_000):
        writer.write(flood)
        try:
            await asyncio.wait_for(writer.drain(), 5)
        except TimeoutError:
            stuck = True
            break
    assert stuck
    (connection,) = ingest.server.server_state.connections
    assert len(connection.pipeline) < 20_000
    assert await ingest.answers(request(), 1) == [200], "others are served"
    writer.transport.abort()


async def test_a_connection_that_was_reset_leaves_nothing(ingest: Ingest):
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
        writer.write(request())
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    async with asyncio.timeout(60):
        while ingest.server.server_state.connections:  # noqa: ASYNC110 - sockets tell nobody
            await asyncio.sleep(0.01)
    gc.collect()
    timers = [
        each for each in gc.get_objects() if type(each).__name__ == "Connection" and hasattr(each, "front")
    ]
    assert len(timers) < 10, "a keep-alive timer would hold each for over a minute"
