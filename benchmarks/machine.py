"""The processes under measurement, and what the kernel knows of them: CPU and memory."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import events
import httpx2

AUDITFLOW = os.environ.get("AUDITFLOW") or str(Path(sys.executable).with_name("auditflow"))
"""The command under measurement: that of another checkout when the environment names it."""
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
START_SECONDS = 60.0
POLL_SECONDS = 0.05
SETTLE_SECONDS = 0.3


class CloudWatch:
    """A counting CloudWatch server with TLS, in a process of its own; it may die, and come back as it was."""

    def __init__(self) -> None:
        self.url = ""
        self._folder = TemporaryDirectory(prefix="auditflow-bench-tls-")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._client.close()
        self._folder.cleanup()

    @property
    def certificate(self) -> str:
        """The file by which clients trust it."""
        return f"{self._folder.name}/cert.pem"

    @property
    def properties(self) -> str:
        """What a sink needs to deliver here, as properties in YAML's flow style."""
        return f"endpoint-url: '{self.url}', ca-bundle: '{self.certificate}'"

    def start(self) -> None:
        """Listen; the first time on a free port."""
        port = self.url.rpartition(":")[2] or "0"
        server = [sys.executable, "-m", "auditflow.testing.cloudwatch", "--counting", "--port", port]
        command = [*server, "--tls", self._folder.name]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the CloudWatch server did not start")

    def die(self) -> None:
        """End at once: connections are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def cpu(self) -> float:
        """Give the seconds of CPU it has taken."""
        return cpu(self._process.pid) if self._process else 0.0

    def counts(self) -> dict[str, Any]:
        """Give its totals; members as in docs/testing.md."""
        found: dict[str, Any] = self._client.get(f"{self.url}/_counts").raise_for_status().json()
        return found

    def fault(self, kind: str, **members: object) -> None:
        """Put a fault in force until the server dies; members as in docs/testing.md."""
        self._client.post(f"{self.url}/_faults", json={"kind": kind} | members).raise_for_status()

    @cached_property
    def _client(self) -> httpx2.Client:
        return httpx2.Client(verify=ssl.create_default_context(cafile=self.certificate), timeout=60)


@dataclass(frozen=True)
class Subject:
    """What is measured: where it is published to, and the process ids of its parts by name."""

    name: str
    url: str
    path: str
    lines: str
    """What it calls NDJSON."""
    pids: dict[str, int]

    def requests(self, published: Sequence[bytes], size: int, headers: bytes = b"") -> list[bytes]:
        """Make requests of `size` events each."""
        kind = self.lines if size > 1 else events.JSON
        return events.requests(events.batches(published, size), self.path, kind, headers)

    def cpu(self) -> dict[str, float]:
        """Give the seconds of CPU that each part has taken."""
        return {name: cpu(pid) for name, pid in self.pids.items()}

    def memory(self) -> float:
        """Give the proportional memory of all parts together, in MB: what they share counts once."""
        return sum(memory(pid)[1] for pid in self.pids.values())

    def delivered(self) -> int:
        """Give how many events it says it has delivered; 0 when it does not say."""
        return 0

    def settle(self, delivered: int) -> None:
        """Wait until it says that so many events have been delivered."""


@dataclass(frozen=True)
class Served(Subject):
    """A running `auditflow serve`."""

    seconds: float = field(default=0.0)
    """Until it was ready."""
    key: str = ""
    """Where it wants one, a key with the right to read."""

    def pipelines(self) -> dict[str, dict[str, Any]]:
        """Give what status says, by pipeline; a tenant's is `tenant/name`."""
        headers = {"X-Api-Key": self.key} if self.key else {}
        rows = httpx2.get(f"{self.url}/api/v1/status", headers=headers, timeout=60).json()["pipelines"]
        return {
            row["name"] if row["tenant"] == "_platform" else f"{row['tenant']}/{row['name']}": row
            for row in rows
        }

    def delivered(self) -> int:
        """Give how many events were delivered, of all pipelines together."""
        return sum(row["delivered"] for row in self.pipelines().values())

    def settle(self, delivered: int) -> None:
        """Wait until so many events have been delivered, which is asked seldom: the answer costs as well.

        RuntimeError when nothing is left to be delivered and it were fewer.
        """
        while True:
            rows = self.pipelines().values()
            now = sum(row["delivered"] for row in rows)
            if now >= delivered:
                return
            if not any(row["pending"] for row in rows) and self.delivered() == now:
                raise RuntimeError(f"{now:,} events were delivered instead of {delivered:,}")
            time.sleep(SETTLE_SECONDS)

    def order(self, pipeline: str, what: str) -> None:
        """Pause or resume a pipeline."""
        httpx2.post(f"{self.url}/api/v1/pipelines/{pipeline}/{what}", timeout=60).raise_for_status()


@contextmanager
def serve(config: str, files: Mapping[str, str] | None = None, key: str = "") -> Iterator[Served]:
    """Run `auditflow serve` with this configuration, and files beside it, on free ports.

    Raises RuntimeError, with what it said, when it does not start.
    """
    with TemporaryDirectory(prefix="auditflow-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        for path, text in {"auditflow.yaml": config, **(files or {})}.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        command = [AUDITFLOW, "serve", "--config", f"{folder}/auditflow.yaml", "--data-dir", f"{folder}/data"]
        started = time.perf_counter()
        with running([*command, "--port", "0", "--sink-port", "0"], folder) as process:
            url = said(process, folder, r"ready: publish to (\S+)/audit/publish")
            seconds = time.perf_counter() - started
            roles = {name: _role(process.pid, name) for name in ("ingest", "delivery")}
            pids = {"supervisor": process.pid} | roles
            yield Served("AuditFlow", url, "/audit/publish", events.NDJSON, pids, seconds, key)


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with its output in `folder`/log, and end it."""
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | KEYS)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def said(process: subprocess.Popen[bytes], folder: Path, pattern: str) -> str:
    """Wait until the log holds the pattern; give its first group. Raises RuntimeError when it never will."""
    log = folder / "log"
    wait(lambda: re.search(pattern, log.read_text()) or process.poll() is not None, START_SECONDS)
    found = re.search(pattern, log.read_text())
    if found is None:
        raise RuntimeError(log.read_text())
    return found[1]


def wait(condition: Callable[[], object], seconds: float) -> None:
    """Wait until the condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_SECONDS)


def cpu(pid: int) -> float:
    """Give the seconds of CPU that a process has taken, threads that have ended included, to the nanosecond.

    By the process's own CPU-time clock, whose number is made as clock_getcpuclockid(3) of Linux makes it.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> tuple[float, float]:
    """Give resident and proportional memory of a process, in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(kb) / 1024 for kb in re.findall(r"^[RP]ss: +(\d+)", rollup, re.MULTILINE))
    return rss, pss


def _role(parent: int, name: str) -> int:
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if name in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
            return int(pid)
    raise ProcessLookupError(name)
