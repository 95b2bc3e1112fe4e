"""The limit on open files: told when it is low, and survived when it is reached."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from contextlib import ExitStack

import httpx2
import pytest

from .conftest import Serve, wait_for

CONFIG = "pipelines:\n  - {name: a, sink: {name: logging_sink}}\n"


@pytest.fixture
def limited():
    """Let what is started from now on open no more than so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes: list[int] = []

    def limit(pid: int, files: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))
        processes.append(pid)

    yield limit
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_too_low_a_limit_is_one_sentence_with_what_helps(tmp_path):
    (tmp_path / "auditflow.yaml").write_text(CONFIG)
    command = f"ulimit -n 32; exec {sys.executable} -m auditflow serve --port 0 --sink-port 0"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "No more than 32 files may be open" in done.stderr
    assert "ulimit -n 1024" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
def test_at_the_limit_it_is_said_and_work_goes_on(serve, limited):
    running: Serve = serve(CONFIG)
    limited(running.role("ingest"), 256)
    address = httpx2.URL(running.url)
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection((address.host, address.port), timeout=30))
        wait_for(
            lambda: "open files" in running.log or "out of system resource" in running.log,
            what="the log to say so",
        )
    wait_for(lambda: httpx2.get(f"{running.url}/ready").status_code == 200, what="room for connections again")
    assert running.publish({"eventType": "a", "sourceSystem": "b"}).status_code == 200
    assert "Traceback" not in running.log
