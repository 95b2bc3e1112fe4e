"""Serve started by something that closed, or does not read, its standard streams."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

from .conftest import CLOUDWATCH, wait_for

EVENT = {"eventType": "a", "sourceSystem": "b"}

pytestmark = pytest.mark.timeout(300)


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


class Bare:
    """A serve without a log: it is ready when it answers."""

    def __init__(self, folder, cloud, shell: str = "", **streams) -> None:
        (folder / "auditflow.yaml").write_text(CLOUDWATCH)
        self.data = folder / "data"
        port, sink_port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable, "-m", "auditflow", "serve", "--config", str(folder / "auditflow.yaml"), "--log-level", "debug",
            "--data-dir", str(self.data), "--port", str(port), "--sink-port", str(sink_port),
        ]  # fmt: skip
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        environment = os.environ | keys | {"AWS_ENDPOINT_URL": cloud.url}
        if shell:
            command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
        self.process = subprocess.Popen(command, env=environment, **streams)
        wait_for(lambda: self.answers("/ready"), what="serve to answer")

    def answers(self, path: str) -> bool:
        assert self.process.poll() is None
        try:
            return httpx2.get(f"{self.url}{path}", timeout=30).status_code == 200
        except httpx2.TransportError:
            return False

    def publish(self, count: int) -> None:
        with httpx2.Client(timeout=60) as client:
            for _ in range(count):
                assert client.post(f"{self.url}/audit/publish", json=EVENT).status_code == 200

    def delivered(self) -> int:
        (row,) = httpx2.get(f"{self.url}/api/v1/status", timeout=30).json()["pipelines"]
        return row["delivered"]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@pytest.fixture
def bare(tmp_path, cloud):
    started: list[Bare] = []

    def start(**given) -> Bare:
        started.append(Bare(tmp_path, cloud, **given))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.mark.parametrize("shell", ["<&- >&- 2>&-", "<&-", "2>&-"])
def test_closed_streams_are_no_files_of_ours(bare, shell):
    running = bare(shell=shell)
    running.publish(5)
    wait_for(lambda: running.delivered() == 5, what="the events to be delivered")
    for file in running.data.iterdir():
        if file.is_file() and not file.name.endswith((".sqlite", "-wal", "-shm")):
            assert b"INFO" not in file.read_bytes(), file
    second = subprocess.run(
        [sys.executable, "-m", "auditflow", "serve", "--config", str(running.data.parent / "auditflow.yaml"),
         "--data-dir", str(running.data), "--port", "0", "--sink-port", "0"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert second.returncode != 0
    assert "is in use by" in second.stderr
    assert running.stop() == 0


def test_a_pipe_that_nobody_reads_stops_nothing(bare):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"-" * 4096)  # full from the start
    running = bare(stderr=write)
    os.close(write)
    running.publish(150)
    wait_for(lambda: running.delivered() == 150, what="the events to be delivered")
    assert running.answers("/ready")
    began = time.monotonic()
    assert running.stop() == 0
    took = time.monotonic() - began
    os.close(read)
    assert took < 25, "no longer than events in flight are waited for"
