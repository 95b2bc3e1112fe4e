import asyncio
import os
import socket

import httpx2
import pytest

from auditflow.apps.server import Server, adopt, bind
from auditflow.errors import AddressInUse, AddressUnusable


def test_a_busy_port_names_the_flag_that_chooses_another():
    with bind("127.0.0.1", 0, "--port") as first:
        port = first.getsockname()[1]
        with pytest.raises(AddressInUse) as caught:
            bind("127.0.0.1", port, "--sink-port")
    assert f"127.0.0.1:{port}: the port is in use" in str(caught.value)
    assert "--sink-port" in caught.value.hint


def test_an_address_that_is_not_ours_is_told_in_plain_words():
    for address in ("192.0.2.1", "no-such-host.invalid", "..."):
        with pytest.raises(AddressUnusable) as caught:
            bind(address, 0, "--sink-port")
        assert address in str(caught.value)
        assert "--sink-host" in caught.value.hint


def test_a_child_takes_over_a_listening_socket():
    with bind("127.0.0.1", 0, "--port") as listener, adopt(os.dup(listener.fileno())) as adopted:
        assert adopted.getsockname() == listener.getsockname()
        socket.create_connection(adopted.getsockname()).close()


async def test_a_stop_lets_the_requests_in_flight_end():
    entered, leave = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send) -> None:
        entered.set()
        await leave.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"whole"})

    server = Server(app, 10.0)
    listener = bind("127.0.0.1", 0, "--port")
    port = listener.getsockname()[1]
    serving = asyncio.create_task(server.run_on(listener))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as ask:
        request = asyncio.create_task(ask.get("/"))
        await entered.wait()
        server.stop()
        assert not serving.done()
        leave.set()
        assert (await request).text == "whole"
    await serving
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port))
