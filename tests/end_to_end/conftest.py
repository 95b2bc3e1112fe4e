"""Real processes: `auditflow serve` on real disk, talking real HTTP to a strict CloudWatch double."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

CLOUDWATCH = """\
pipelines:
  - name: cloudwatch
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: /aws/auditflow/test
        log-stream: events
        flush-interval: 100ms
"""


def wait_for(condition: Callable[[], object], seconds: float = 120.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


class Serve:
    """A running `auditflow serve`."""

    def __init__(
        self, folder: Path, config: str, environment: dict[str, str], options: tuple[str, ...]
    ) -> None:
        self.folder = folder
        self.config = folder / "auditflow.yaml"
        self.config.write_text(config)
        self.data = folder / "data"
        self.log_file = folder / "serve.log"
        self.environment = dict(os.environ) | environment
        self.options = options
        self.url = self.sink_url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Serve:
        ports = () if "--port" in self.options else ("--port", "0", "--sink-port", "0")
        command = [
            sys.executable,
            "-m",
            "auditflow",
            "serve",
            "--config",
            str(self.config),
            "--data-dir",
            str(self.data),
        ]
        self.log_file.write_bytes(b"")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *ports, *self.options], stderr=log, env=self.environment
            )
        wait_for(
            lambda: "ready: publish to" in self.log or self.process.poll() is not None,
            60,
            "serve to be ready",
        )
        assert self.process.poll() is None, self.log
        self.url = re.search(r"ready: publish to (\S+)/audit/publish", self.log)[1]
        self.sink_url = re.search(r"sink service at (\S+)", self.log)[1]
        return self

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def publish(self, *events: dict, **options) -> httpx2.Response:
        if len(events) == 1:
            return httpx2.post(f"{self.url}/audit/publish", json=events[0], timeout=30, **options)
        body = b"\n".join(json.dumps(event).encode() for event in events)
        headers = {"Content-Type": "application/x-ndjson"}
        return httpx2.post(f"{self.url}/audit/publish", content=body, headers=headers, timeout=30, **options)

    def status(self, pipeline: str = "cloudwatch") -> dict:
        answer = httpx2.get(f"{self.url}/api/v1/status", timeout=30).json()
        (row,) = [row for row in answer["pipelines"] if row["name"] == pipeline]
        ended = row["delivered"] + row["filtered"] + row["deadLettered"]
        assert row["accepted"] == ended + row["pending"], row
        return row

    def settled(self, pipeline: str = "cloudwatch", seconds: float = 120.0) -> dict:
        wait_for(
            lambda: self.status(pipeline)["pending"] == 0, seconds, f"{pipeline} to have nothing pending"
        )
        return self.status(pipeline)

    def role(self, name: str) -> int:
        """Give the process id of a role."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            with contextlib.suppress(OSError):
                if name in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    return int(pid)
        raise ProcessLookupError(name)

    def kill(self, name: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid if name == "serve" else self.role(name), signal.SIGKILL)
        if name == "serve":
            self.process.wait()

    def stop(self, seconds: float = 120.0) -> int:
        self.process.terminate()
        return self.process.wait(seconds)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def default_ports() -> Iterator[None]:
    """Keep the ports that docs print (8080, 8082, 4580) for one test at a time, on the whole machine."""
    with (Path(tempfile.gettempdir()) / "auditflow-default-ports.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # the roles of a server that was killed finish their work, and answer meanwhile
        wait_for(lambda: not any(map(_listens, (4580, 8080, 8082))), what="the ports to be free")
        yield


@pytest.fixture
def cloud() -> Iterator[StrictCloudWatch]:
    with StrictCloudWatch() as double:
        yield double


@pytest.fixture
def serve(tmp_path: Path, request: pytest.FixtureRequest):
    """Give a function that starts `auditflow serve` with a configuration."""
    started: list[Serve] = []

    def start(
        config: str = CLOUDWATCH, *options: str, cloud: StrictCloudWatch | None = None, **environment: str
    ) -> Serve:
        if cloud is not None:
            keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
            environment = {"AWS_ENDPOINT_URL": cloud.url} | keys | environment
        started.append(Serve(tmp_path, config, environment, options).start())
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    if getattr(request.node, "failed", False):
        sys.stderr.writelines(one.log for one in started)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "end_to_end" in str(item.path):
            item.add_marker(pytest.mark.slow)
