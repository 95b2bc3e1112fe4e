"""What the pods of the chart run, run here: two processes, each with its own configuration, over one folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from auditflow.ingest.auth.keys import KeyFile
from auditflow.testing.cloudwatch import StrictCloudWatch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

VALUES = {
    "config": {
        "pipelines": [
            {
                "name": "cloudwatch",
                "sink": {
                    "name": "aws_cloudwatch_sink",
                    "properties": {
                        "log-group": "/aws/auditflow/production",
                        "log-stream": "app-events",
                        "access-key-id": "${AWS_ACCESS_KEY_ID}",
                        "secret-access-key": "${AWS_SECRET_ACCESS_KEY}",
                        "flush-interval": "100ms",
                    },
                },
            }
        ]
    }
}


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"waited two minutes for {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "AUDITFLOW_"))}


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


class Pods:
    """The two pods, as processes of this machine."""

    def __init__(self, manifests, folder: Path) -> None:
        self.manifests = manifests
        self.folder = folder
        self.ports = {"8080": str(free_port()), "8082": str(free_port())}
        rights = [f"audit-event:{right}" for right in ("write", "read", "operate")]
        _, key = KeyFile(folder / "data" / "keys.json").create("test", None, rights)
        self.http = httpx2.Client(headers={"X-Api-Key": key}, timeout=30)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def start(self, role: str, **environment: str) -> None:
        config = self.folder / role
        config.mkdir(exist_ok=True)
        (config / "auditflow.yaml").write_text(self.manifests.config(role))
        (container,) = self.manifests.pod(role)["containers"]
        arguments = [self._here(argument, config) for argument in container["args"]]
        command = [sys.executable, "-m", "auditflow", *arguments]
        self.processes[role] = subprocess.Popen(command, env=bare() | environment)

    def wait_for_ingest(self) -> subprocess.Popen[bytes]:
        """Run delivery's init container."""
        (container,) = self.manifests.pod("delivery")["initContainers"]
        *_, script = container["command"]
        return subprocess.Popen(
            [sys.executable, "-c", script.replace("http://auditflow-ingest:8080", self.url("8080"))],
            env=bare(),
        )

    def _here(self, argument: str, config: Path) -> str:
        argument = argument.replace("/etc/auditflow/", f"{config}/").replace("=/data", f"={self.folder}/data")
        return re.sub(r"(?<=port=)\d+$", lambda found: self.ports[found[0]], argument)


@pytest.fixture
def pods(render, tmp_path):
    pods = Pods(render(VALUES), tmp_path)
    yield pods
    pods.http.close()
    for process in pods.processes.values():
        process.kill()
        process.wait()


def test_an_event_published_to_ingest_is_delivered_by_delivery(pods: Pods):
    with StrictCloudWatch() as cloud:
        waiting = pods.wait_for_ingest()
        assert waiting.poll() is None
        pods.start("ingest")  # without any credentials: it needs none
        assert waiting.wait(60) == 0
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        pods.start("delivery", AWS_ENDPOINT_URL=cloud.url, **keys)
        wait_for(lambda: answers(f"{pods.url('8082')}/ready"), "delivery")
        event = {"eventType": "auth.login", "sourceSystem": "web"}
        assert pods.http.post(f"{pods.url('8080')}/audit/publish", json=event).status_code == 200

        def row() -> dict:
            return pods.http.get(f"{pods.url('8080')}/api/v1/status").json()["pipelines"][0]

        wait_for(lambda: row()["delivered"] == 1, "the event to be delivered")
        changed = pods.folder / "delivery" / "auditflow.yaml"
        changed.write_text(changed.read_text().replace("app-events", "other-events"))
        answer = pods.http.post(f"{pods.url('8080')}/api/v1/reload")
        assert answer.json() == {"changed": ["cloudwatch"]}
        assert pods.http.post(f"{pods.url('8080')}/audit/publish", json=event).status_code == 200
        wait_for(lambda: row()["delivered"] == 3, "the second event and the reload's own to be delivered")
        assert {record.stream for record in cloud.events("/aws/auditflow/production")} == {
            "app-events",
            "other-events",
        }
        kept = [path.name for path in (pods.folder / "data" / "config").iterdir()]
        assert kept == ["state.json"], "what delivery is configured with must not reach ingest"
        for role in ("delivery", "ingest"):
            pods.processes[role].terminate()
            assert pods.processes[role].wait(40) == 0


def test_a_second_ingest_over_the_same_volume_ends_instead_of_writing(pods: Pods):
    pods.start("ingest")
    wait_for(lambda: answers(f"{pods.url('8080')}/live"), "ingest")
    first = pods.processes["ingest"]
    pods.start("ingest")
    second, pods.processes["ingest"] = pods.processes["ingest"], first
    assert second.wait(60) != 0
    assert first.poll() is None
