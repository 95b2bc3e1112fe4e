"""The sink service costs nothing until somebody calls it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from auditflow.apps.sink_service import OnDemand


class Recording:
    """An app that notes what it is asked, and sinks that note that they are closed."""

    def __init__(self) -> None:
        self.built = 0
        self.asked: list[str] = []
        self.closed = False

    def build(self) -> Any:
        self.built += 1
        return self.app, self

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])

    async def close(self) -> None:
        self.closed = True


async def ask(service: OnDemand, path: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await service({"type": "http", "method": "GET", "path": path}, None, send)
    return sent


async def test_it_is_built_once_for_the_first_call() -> None:
    recording = Recording()
    service = OnDemand(recording.build)
    await ask(service, "/registry")
    await ask(service, "/info")
    await service.close()
    assert (recording.built, recording.asked, recording.closed) == (1, ["/registry", "/info"], True)


async def test_it_says_that_it_is_alive_without_being_built() -> None:
    recording = Recording()
    service = OnDemand(recording.build)
    start, body = await ask(service, "/live")
    assert (start["status"], body["body"], recording.built) == (200, b'{"status":"alive"}', 0)
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    await service.close()
    assert not recording.closed


def test_delivery_starts_without_the_libraries_of_the_service() -> None:
    code = "import sys, auditflow.apps.delivery; print('fastapi' in sys.modules, 'boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
