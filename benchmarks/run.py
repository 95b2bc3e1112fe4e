"""Measures CPU per event and throughput of a whole `auditflow serve`. See README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import dataclass
from statistics import quantiles

import load
from machine import CloudWatch, cpu, serve

PIPELINE = """\
pipelines:
  - name: bench
    {condition}
    sink:
      name: aws_cloudwatch_sink
      properties: {{log-group: /bench, log-stream: bench, endpoint-url: '{endpoint}'}}
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
    with (
        CloudWatch() as cloud,
        serve(PIPELINE.format(condition=case.condition, endpoint=cloud.url)) as served,
    ):
        asyncio.run(load.send(served.url, load.requests(load.lines(2000), case.size), case.connections))
        served.settle()
        roles = [served.pids["ingest"], served.pids["delivery"]]
        before = [cpu(pid) for pid in roles]
        started = time.perf_counter()
        seconds = asyncio.run(load.send(served.url, load.requests(events, case.size), case.connections))
        served.settle()
        elapsed = time.perf_counter() - started
        ingest, delivery = ((cpu(pid) - was) / count * 1e6 for pid, was in zip(roles, before, strict=True))
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


if __name__ == "__main__":
    main()
