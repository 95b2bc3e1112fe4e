"""What clients may not do to the server, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from auditflow.apps.http import connection as connection_module
from auditflow.apps.http import server as server_module
from auditflow.apps.http.connection import HEAD_BYTES, HEADERS, most_connections
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.ingest.limits import Limits

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


LARGE = 32 * 2**20
"""More than the buffers of the system between the two hold."""


async def echo(scope, receive, send) -> None:
    """Answer with the size of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = str(size).encode()
    if scope["path"] == "/large":
        body = bytes(LARGE)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server, listener = Server(echo, 1.0), bind("127.0.0.1", 0, "--port")
    task = asyncio.create_task(server.run_on(listener))
    yield listener.getsockname()[1]
    server.stop()
    await task


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(server_module, "SWEEP_SECONDS", 0.05)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def drip(port: int, *pieces: bytes) -> bytes:
    """Send pieces, the last again and again, until the server hangs up; give what it has answered."""
    answer = b""
    async with asyncio.timeout(60), connected(port) as (reader, writer):
        reading = asyncio.create_task(reader.read())
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
            while not reading.done():
                writer.write(pieces[-1])
                await writer.drain()
                await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            answer = await reading
    return answer


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"\r\n",),
        (b"GET /", b"x"),
        (HEAD, b"A: b\r\n"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"\r\n"),
        (HEAD + b"Content-Length: 0\r\n\r\n" + HEAD, b"A: b\r\n"),
    ],
    ids=["nothing", "blank lines", "path", "headers", "body", "chunks", "after a request", "second request"],
)
@pytest.mark.usefixtures("impatient")
async def test_who_does_not_send_a_whole_request_in_time_is_cut_off(port, pieces, caplog, monkeypatch):
    monkeypatch.setattr(connection_module, "HEADERS", 10**6)
    await drip(port, *pieces)
    assert "a request has to arrive whole" in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_who_waits_before_the_next_request_is_not_cut_off(port):
    async with connected(port) as (reader, writer):
        for _ in range(2):
            writer.write(HEAD + b"Content-Length: 2\r\n\r\nhi")
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(1) == b"2"
            await asyncio.sleep(0.5)  # longer than a request may take


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + b"A: ", b"x" * 4096),
        (b"GET /", b"x" * 4096),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 4096),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: ", b"x" * 4096),
    ],
    ids=["header", "path", "chunk extension", "trailer"],
)
async def test_a_head_that_does_not_end_is_refused_before_it_fills_the_memory(port, pieces):
    assert b" 431 " in (await drip(port, *pieces)).partition(b"\r\n")[0]


@pytest.mark.parametrize("count", [HEADERS - 2, HEADERS + 1])
async def test_headers_are_counted(port, count):
    head = HEAD + b"Connection: close\r\n" + b"A: b\r\n" * (count - 2) + b"\r\n"
    assert (b" 200 " in await drip(port, head, b"")) == (count <= HEADERS)


async def test_trailers_count_as_headers(port):
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    assert b" 400 " in await drip(port, head, b"A: b\r\n")


async def test_a_large_head_and_a_large_body_are_taken(port):
    body = b"x" * (Limits().request_bytes // 4)
    head = HEAD + b"Connection: close\r\nA: %b\r\nContent-Length: %d\r\n\r\n"
    answer = await drip(port, head % (b"y" * (HEAD_BYTES - 200), len(body)) + body, b"")
    assert answer.endswith(str(len(body)).encode())


async def test_connections_over_the_limit_are_closed_and_make_room_when_others_end(monkeypatch):
    monkeypatch.setattr(connection_module, "most_connections", lambda: 3)
    server, listener = Server(echo, 1.0), bind("127.0.0.1", 0, "--port")
    task = asyncio.create_task(server.run_on(listener))

    async def answered(others: contextlib.AsyncExitStack) -> bool:
        reader, writer = await others.enter_async_context(connected(listener.getsockname()[1]))
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        try:
            return b" 200 " in await reader.readline()
        except ConnectionError:
            return False

    async with asyncio.timeout(60), contextlib.AsyncExitStack() as open_ones:
        async with contextlib.AsyncExitStack() as first:
            assert all([await answered(first) for _ in range(3)])
            assert not await answered(open_ones)
        while not await answered(open_ones):  # noqa: ASYNC110 - when the server has noticed is no event here
            await asyncio.sleep(0.01)
    server.stop()
    await task


def test_connections_leave_descriptors_for_the_rest(monkeypatch):
    monkeypatch.setattr(connection_module.resource, "getrlimit", lambda _: (1024, 4096))
    assert most_connections() == 824


async def test_who_does_not_read_the_answer_is_cut_off(impatient, port: int, caplog):
    async with asyncio.timeout(60), connected(port) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while "an answer to be read" not in caplog.text:  # noqa: ASYNC110 - the log is what is looked at
            await asyncio.sleep(0.05)
        count = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(2**20):
                count += len(part)
    assert count < LARGE


async def test_who_reads_slowly_but_steadily_gets_all_of_it(impatient, port: int, monkeypatch):
    monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 2.0)
    async with asyncio.timeout(60), connected(port) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        count, began = 0, asyncio.get_running_loop().time()
        while count < LARGE:
            part = await reader.read(2**17)
            assert part
            count += len(part)
            await asyncio.sleep(0.02)
        assert asyncio.get_running_loop().time() - began > 4, "or it has not been tried"
