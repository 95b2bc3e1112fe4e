import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auditflow.apps.http import server as server_module
from auditflow.apps.http.listener import adopt, bind
from auditflow.apps.http.server import Server
from auditflow.config.tls import TlsConfig
from auditflow.errors import AddressInUse, AddressUnusable
from auditflow.ingest.auth import watched


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


@contextlib.asynccontextmanager
async def serving(app: Any, tls: TlsConfig | None = None) -> AsyncIterator[int]:
    """Serve an app; give the port."""
    server, listener = Server(app, 1.0, tls), bind("127.0.0.1", 0, "--port")
    task = asyncio.create_task(server.run_on(listener))
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        await task


async def hello(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})


async def test_every_answer_says_how_browsers_are_to_take_it():
    async with serving(hello) as port, httpx2.AsyncClient(trust_env=False) as ask:
        answer = await ask.get(f"http://127.0.0.1:{port}/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers


async def test_nobody_can_say_that_he_calls_from_elsewhere():
    async with serving(hello) as port, httpx2.AsyncClient(trust_env=False) as ask:
        answer = await ask.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "10.0.0.1"})
    assert answer.text == "127.0.0.1"


def shown(port: int) -> bytes:
    """Give the certificate that a server shows."""
    return ssl.get_server_certificate(("127.0.0.1", port)).encode()


async def test_https_is_served_and_a_renewed_certificate_shown_without_a_restart(issue, monkeypatch, caplog):
    monkeypatch.setattr(server_module, "CERTIFICATE_SECONDS", 0.02)
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
    certificate, key = issue()
    new_certificate, new_key = issue("renewed")
    tls = TlsConfig(certificate=certificate, key=key)
    async with serving(hello, tls) as port:
        assert await asyncio.to_thread(shown, port) == certificate.read_bytes()
        new_certificate.replace(certificate)  # the key comes later: until then they do not fit
        async with asyncio.timeout(60):
            while "the old ones stay" not in caplog.text:  # noqa: ASYNC110 - a line of the log is no event
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(shown, port) != certificate.read_bytes()
        new_key.replace(key)
        async with asyncio.timeout(60):
            while await asyncio.to_thread(shown, port) != certificate.read_bytes():  # noqa: ASYNC110 - nor is a file
                await asyncio.sleep(0.02)
        trusting = ssl.create_default_context(cafile=certificate)
        trusting.check_hostname = False
        async with httpx2.AsyncClient(trust_env=False, verify=trusting) as ask:
            answer = await ask.get(f"https://127.0.0.1:{port}/")
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_with_a_client_ca_nobody_connects_without_a_certificate(issue):
    certificate, key = issue()
    client, client_key = issue("client")
    tls = TlsConfig.model_validate({"certificate": certificate, "key": key, "client-ca": client})
    async with serving(hello, tls) as port:
        url = f"https://127.0.0.1:{port}/"
        stranger, stranger_key = issue("stranger")
        for shows in ((client, client_key), (stranger, stranger_key), None):
            context = ssl.create_default_context(cafile=certificate)
            context.check_hostname = False
            if shows:
                context.load_cert_chain(*shows)
            async with httpx2.AsyncClient(trust_env=False, verify=context) as ask:
                if shows == (client, client_key):
                    assert (await ask.get(url)).status_code == 200
                else:
                    with pytest.raises(httpx2.TransportError):
                        await ask.get(url)


async def test_who_signs_client_certificates_may_change_without_a_restart(issue, monkeypatch):
    monkeypatch.setattr(server_module, "CERTIFICATE_SECONDS", 0.02)
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
    certificate, key = issue()
    old, new = issue("old"), issue("new")
    trusted = certificate.with_name("trusted.pem")
    trusted.write_bytes(old[0].read_bytes())
    tls = TlsConfig.model_validate({"certificate": certificate, "key": key, "client-ca": trusted})
    async with serving(hello, tls) as port:
        contexts = {}
        for shows in (old, new):
            contexts[shows] = ssl.create_default_context(cafile=certificate)
            contexts[shows].load_cert_chain(*shows)

        async def admitted(shows: tuple[Path, Path]) -> bool:
            async with httpx2.AsyncClient(trust_env=False, verify=contexts[shows]) as ask:
                try:
                    return (await ask.get(f"https://127.0.0.1:{port}/")).status_code == 200
                except httpx2.TransportError:
                    return False

        assert (await admitted(old), await admitted(new)) == (True, False)
        new[0].replace(trusted)
        async with asyncio.timeout(60):
            while not await admitted(new):  # noqa: ASYNC110 - nor is a file
                await asyncio.sleep(0.02)
        assert not await admitted(old)


async def test_old_versions_of_tls_are_refused(issue):
    certificate, key = issue()
    async with serving(hello, TlsConfig(certificate=certificate, key=key)) as port:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)
