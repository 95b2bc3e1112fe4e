"""The system under measurement: a whole `auditflow serve`, and CloudWatch servers that it delivers to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import IO, Any, Self

import httpx2

TICKS = os.sysconf("SC_CLK_TCK")
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}


class CloudWatch:
    """A counting CloudWatch server in a process of its own; it may die, and come back at the same address."""

    def __init__(self) -> None:
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def start(self) -> None:
        """Listen; the first time on a free port."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "auditflow.testing.cloudwatch", "--counting", "--port", port]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = _found(self._process.stdout, r"(http://\S+)")

    def die(self) -> None:
        """End at once: connections are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def fault(self, kind: str, **members: object) -> None:
        """Put a fault in force until the server dies; members as in docs/testing.md."""
        httpx2.post(f"{self.url}/_faults", json={"kind": kind} | members).raise_for_status()


@dataclass(frozen=True)
class Served:
    """A running `auditflow serve`: where it listens, and the process ids of its parts by name."""

    url: str
    pids: dict[str, int]

    def pipelines(self) -> dict[str, dict[str, Any]]:
        """Give what status says, by pipeline."""
        rows = httpx2.get(f"{self.url}/api/v1/status", timeout=60).json()["pipelines"]
        return {row["name"]: row for row in rows}

    def cpu(self) -> float:
        """Give the seconds of CPU that its parts have taken."""
        return sum(map(cpu, self.pids.values()))

    def settle(self) -> None:
        """Wait until no event is pending."""
        while any(row["pending"] for row in self.pipelines().values()):
            time.sleep(0.05)

    def order(self, pipeline: str, what: str) -> None:
        """Pause or resume a pipeline."""
        httpx2.post(f"{self.url}/api/v1/pipelines/{pipeline}/{what}", timeout=60).raise_for_status()


@contextmanager
def serve(config: str) -> Iterator[Served]:
    """Run `auditflow serve` with this configuration, on free ports and in a folder of its own."""
    with TemporaryDirectory(prefix="auditflow-bench-", dir=Path.cwd()) as folder:
        file = Path(folder, "auditflow.yaml")
        file.write_text(config)
        command = [sys.executable, "-m", "auditflow", "serve", "--config", str(file)]
        process = subprocess.Popen(
            [*command, "--data-dir", f"{folder}/data", "--port", "0", "--sink-port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | KEYS,
        )
        try:
            url = _found(process.stderr, r"ready: publish to (\S+)/audit/publish")
            Thread(target=process.communicate, daemon=True).start()  # lest it waits for a reader of its log
            pids = {name: _role(process.pid, name) for name in ("ingest", "delivery")}
            yield Served(url, {"serve": process.pid} | pids)
        finally:
            process.terminate()
            process.wait()


def cpu(pid: int) -> float:
    """Give the seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _found(output: IO[str] | None, pattern: str) -> str:
    """Read lines until one matches; give its first group. RuntimeError shows the lines when none does."""
    read = []
    for line in output or ():
        read.append(line)
        if match := re.search(pattern, line):
            return match[1]
    raise RuntimeError("".join(read))


def _role(parent: int, name: str) -> int:
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if name in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
            return int(pid)
    raise ProcessLookupError(name)
