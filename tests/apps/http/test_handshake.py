"""Under both event loops: which of them serves depends on the platform, and they hand over TLS each in their own way."""

import asyncio
import contextlib
import errno
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from auditflow.apps.http import connection as connection_module
from auditflow.apps.http import handshake as handshake_module
from auditflow.apps.http import listener as listeners
from auditflow.apps.http import server as server_module
from auditflow.apps.http.handshake import Handshake
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.config.tls import TlsConfig, server_context

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"


def under_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test under each event loop that may serve."""

    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**fixtures))

    wanted = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature([*wanted, loop])  # type: ignore[attr-defined] # pytest reads it
    return pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])(run)


@pytest.fixture
def ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for nobody."""
    monkeypatch.setattr(handshake_module, "REQUEST_SECONDS", 0.0)
    monkeypatch.setattr(server_module, "SWEEP_SECONDS", 0.02)


async def echo(scope, receive, send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(issue) -> AsyncIterator[tuple[Server, int]]:
    certificate, key = issue()
    server, listener = (
        Server(echo, 1.0, TlsConfig(certificate=certificate, key=key)),
        listeners.bind("127.0.0.1", 0, "--port"),
    )
    task = asyncio.create_task(server.run_on(listener))
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.stop()
        await asyncio.wait_for(task, 60)


@contextlib.asynccontextmanager
async def silent(port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A client that opens a connection and does not shake hands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader
    finally:
        writer.close()


async def answered(port: int, request: bytes = REQUEST) -> bool:
    """Tell whether a client who speaks TLS is served."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(request)
        line = await reader.readline()
        writer.close()
    except OSError:
        return False
    return b" 200 " in line


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what the server has noticed is no event here
            await asyncio.sleep(0.01)


@under_both_loops
async def test_a_handshake_that_never_ends_is_ended_and_told(issue, ends_soon, caplog):
    async with serving(issue) as (server, port), silent(port) as reader:
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        await until(lambda: "1 connections were closed" in caplog.text)
        assert not server.server_state.connections


@under_both_loops
async def test_handshakes_under_way_count_as_connections(issue, monkeypatch, caplog):
    monkeypatch.setattr(connection_module, "most_connections", lambda: 3)
    async with serving(issue) as (server, port):
        async with contextlib.AsyncExitStack() as held:
            for _ in range(3):
                await held.enter_async_context(silent(port))
            await until(lambda: len(server.server_state.connections) == 3)
            assert not await answered(port)
        await until(lambda: not server.server_state.connections)
        assert await answered(port)


@under_both_loops
async def test_who_does_not_speak_tls_is_let_go_without_a_word(issue, caplog):
    async with serving(issue) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await until(lambda: not server.server_state.connections)
    assert "Traceback" not in caplog.text
    assert "closed" not in caplog.text


@under_both_loops
async def test_clients_that_leave_take_no_room_from_others(issue, monkeypatch):
    monkeypatch.setattr(connection_module, "most_connections", lambda: 3)
    async with serving(issue) as (server, port):
        for _ in range(20):
            async with silent(port):
                pass
        await until(lambda: not server.server_state.connections)
        assert await answered(port)


@under_both_loops
async def test_a_stop_ends_handshakes_and_does_not_wait_for_them(issue, caplog):
    async with contextlib.AsyncExitStack() as held:
        async with serving(issue) as (server, port):
            reader = await held.enter_async_context(silent(port))
            await until(lambda: len(server.server_state.connections) == 1)
        assert await asyncio.wait_for(reader.read(), 60) == b""
    assert not server.server_state.connections
    assert "graceful shutdown exceeded" not in caplog.text


@under_both_loops
async def test_a_handshake_that_is_ended_before_its_first_step_is_forgotten(issue):
    certificate, key = issue()
    context = server_context(TlsConfig(certificate=certificate, key=key))
    ours, theirs = socket.socketpair()
    connections: set[Any] = set()
    with theirs:
        handshake = Handshake(ours, 0.0, connections)
        handshake.begin(context, lambda: pytest.fail("nobody is to be served"))
        handshake.end()
        await until(lambda: not connections)
        assert theirs.recv(1) == b""


@under_both_loops
async def test_a_connection_that_cannot_be_accepted_keeps_no_other_out(issue, monkeypatch, caplog):
    monkeypatch.setattr(handshake_module, "_RETRY_SECONDS", 0.0)
    faults = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]

    class Faulty(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            if faults:
                raise faults.pop(0)
            return super().accept()

    bound = bind("127.0.0.1", 0, "--port")
    monkeypatch.setattr(listeners, "bind", lambda *_: Faulty(fileno=bound.detach()))
    async with serving(issue) as (_, port):
        assert await answered(port)
    assert not faults
    assert caplog.text.count("cannot be accepted: Too many open files") == 1


@under_both_loops
async def test_many_clients_at_once_are_all_served(issue):
    async with serving(issue) as (_, port):
        assert all(await asyncio.gather(*(answered(port) for _ in range(50))))


@under_both_loops
async def test_a_request_in_one_piece_with_the_end_of_the_handshake_is_read(issue):
    """The client's last message of the handshake and its request arrive in one packet."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with serving(issue) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with asyncio.timeout(60):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(2**16))
            tls.write(REQUEST)
            writer.write(outgoing.read())  # both in one
            answer = b""
            while b"hello" not in answer:
                try:
                    answer += tls.read(2**16)
                except ssl.SSLWantReadError:
                    incoming.write(await reader.read(2**16))
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
