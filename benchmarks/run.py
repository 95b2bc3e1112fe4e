"""Measures CPU per event and throughput of a whole `auditflow serve`. See README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx2
import load

TICKS = os.sysconf("SC_CLK_TCK")
PIPELINE = """\
pipelines:
  - name: bench
    {condition}
    sink:
      name: aws_cloudwatch_sink
      properties: {{log-group: /bench, log-stream: bench}}
"""
CONDITION = """condition:
      rules:
        - {field: eventType, operator: exists}
        - {field: extra.actionStatus, operator: in, value: "SUCCESS, FAILURE, DENIED"}
        - {field: extra.durationMs, operator: gte, value: 0}"""


@dataclass(frozen=True)
class Case:
    """What is published, and how."""

    name: str
    events: int
    size: int
    connections: int
    condition: str = ""


CASES = (
    Case("batches", 300_000, 1000, 4),
    Case("condition", 300_000, 1000, 4, CONDITION),
    Case("single", 30_000, 1, 32),
)


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=[case.name for case in CASES])
    parser.add_argument("--events", type=int)
    options = parser.parse_args()
    print("case        events   events/s   p50 ms   p99 ms   ingest   delivery   CPU us/event   x json.loads")
    for case in CASES:
        if options.case in {None, case.name}:
            measure(case, options.events or case.events)


def measure(case: Case, count: int) -> None:
    """Run one case and print its row."""
    events = load.lines(count)
    yardstick = _json_loads(events[:20_000])
    with counting_server() as endpoint, serve(case, endpoint) as (url, roles):
        address = urlsplit(url)
        asyncio.run(
            load.send(
                address.hostname, address.port, load.requests(load.lines(2000), case.size), case.connections
            )
        )
        _settle(url)
        before = [_cpu(pid) for pid in roles]
        started = time.perf_counter()
        seconds = asyncio.run(
            load.send(address.hostname, address.port, load.requests(events, case.size), case.connections)
        )
        _settle(url)
        elapsed = time.perf_counter() - started
        ingest, delivery = ((_cpu(pid) - was) / count * 1e6 for pid, was in zip(roles, before, strict=True))
    cuts = quantiles(seconds, n=100)
    total = ingest + delivery
    print(
        f"{case.name:<10} {count:>7,} {count / elapsed:>10,.0f} {cuts[49] * 1e3:>8.1f} {cuts[98] * 1e3:>8.1f}"
        f" {ingest:>8.1f} {delivery:>10.1f} {total:>14.1f} {total / yardstick:>14.2f}",
        flush=True,
    )


def _json_loads(events: list[bytes]) -> float:
    """Give the yardstick: microseconds of CPU that `json.loads` takes for one event."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for event in events:
            json.loads(event)
        best = min(best, time.process_time() - started)
    return best / len(events) * 1e6


@contextmanager
def counting_server() -> Iterator[str]:
    """Run the counting CloudWatch server in a process of its own."""
    command = [sys.executable, "-m", "auditflow.testing.cloudwatch", "--counting", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@contextmanager
def serve(case: Case, endpoint: str) -> Iterator[tuple[str, list[int]]]:
    """Run `auditflow serve`; give its address and the process ids of ingest and delivery."""
    keys = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    with TemporaryDirectory(prefix="auditflow-bench-", dir=Path.cwd()) as folder:
        config = Path(folder, "auditflow.yaml")
        config.write_text(PIPELINE.format(condition=case.condition))
        command = [
            sys.executable,
            "-m",
            "auditflow",
            "serve",
            "--config",
            str(config),
            "--data-dir",
            f"{folder}/data",
        ]
        process = subprocess.Popen(
            [*command, "--port", "0", "--sink-port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | keys,
        )
        try:
            for line in process.stderr:
                if match := re.search(r"ready: publish to (\S+)/audit/publish", line):
                    break
            yield match[1], [_role(process.pid, name) for name in ("ingest", "delivery")]
        finally:
            process.terminate()
            process.communicate()


def _role(parent: int, name: str) -> int:
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if name in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
            return int(pid)
    raise ProcessLookupError(name)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _settle(url: str) -> None:
    while any(row["pending"] for row in httpx2.get(f"{url}/api/v1/status").json()["pipelines"]):
        time.sleep(0.05)


if __name__ == "__main__":
    main()
