"""The health check of containers, against real servers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from auditflow.apps import health
from auditflow.apps.health import answers
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.config.tls import TlsConfig


@asynccontextmanager
async def serving(tls: TlsConfig | None = None, status: int = 200) -> AsyncIterator[int]:
    """Answer `/live`, and nothing else, with this status; give the port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = status if (scope["method"], scope["path"]) == ("GET", "/live") else 404
        await send({"type": "http.response.start", "status": found, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server, listener = Server(app, 1.0, tls), bind("127.0.0.1", 0, "--port")
    task = asyncio.create_task(server.run_on(listener))
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        await task


@pytest.mark.parametrize("files", [(), ("certificate", "key"), ("certificate", "key", "client-ca")])
async def test_a_server_that_lives_is_healthy_with_and_without_certificates(issue, files: tuple[str, ...]):
    certificate, key = issue()
    paths: dict[str, Path] = {"certificate": certificate, "key": key, "client-ca": certificate}
    tls = TlsConfig.model_validate({name: paths[name] for name in files}) if files else None
    async with serving(tls) as port:
        assert await asyncio.to_thread(answers, port)


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_another_answer_is_not_healthy(status: int):
    async with serving(status=status) as port:
        assert not await asyncio.to_thread(answers, port)


async def test_another_answer_by_https_is_not_healthy_either(issue):
    certificate, key = issue()
    async with serving(TlsConfig(certificate=certificate, key=key), 503) as port:
        assert not await asyncio.to_thread(answers, port)


def test_who_accepts_and_says_nothing_is_not_healthy(monkeypatch):
    monkeypatch.setattr(health, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not answers(listener.getsockname()[1])


def test_nobody_there_is_not_healthy():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not answers(port)


@pytest.mark.parametrize("role", ["all", "delivery"])
async def test_the_port_is_that_of_the_role(role: str):
    async with serving() as here, serving(status=503) as other:
        ports = {"AUDITFLOW_PORT": str(here), "AUDITFLOW_SINK_PORT": str(other)}
        environment = os.environ | ports | {"AUDITFLOW_ROLE": role}
        command = [sys.executable, "-m", "auditflow.apps.health"]
        done = await asyncio.to_thread(subprocess.run, command, env=environment, check=False)
    assert done.returncode == (role == "delivery")


async def test_the_port_is_that_of_the_configuration(tmp_path: Path, issue):
    certificate, key = issue()
    async with serving(TlsConfig(certificate=certificate, key=key)) as port:
        file = tmp_path / "auditflow.yaml"
        file.write_text(f"server: {{port: {port}, tls: {{certificate: a, key: b}}}}\n")
        environment = os.environ | {"AUDITFLOW_CONFIG": str(file)}
        command = [sys.executable, "-m", "auditflow.apps.health"]
        done = await asyncio.to_thread(subprocess.run, command, env=environment, check=False)
    assert done.returncode == 0
