"""A deep backlog: how much memory it takes, and whether it is delivered as fast as a shallow one."""

from __future__ import annotations

import time
from itertools import islice
from statistics import median

import events
import load
from machine import CloudWatch, Served, serve
from measure import DELIVERY_SECONDS, Arrivals, Target
from report import Report

DEEP = 5_000_000
SHALLOW = 300_000
TIMES = 2
"""So often the shallow one is drained."""
BATCH = 1_000
CONNECTIONS = 4
AT_DEPTH_SECONDS = 3.0
RATE = 0.9
MEMORY_MB = 300
WITHIN = (0.02, 0.95)
"""Part of a drain whose rate counts: not the wait for the first retry, nor the last request's for more events."""
QUARTERS = {"first quarter": (0.0, 0.25), "last quarter": (0.75, 0.99)}
CONFIG = """\
pipelines:
  - {{name: bench, sink: {{name: aws_cloudwatch_sink, properties: {{log-group: /bench, {cloud}}}}}}}
"""
Points = list[tuple[float, int]]


def backlog(report: Report, scale: float) -> None:
    """Publish 5,000,000 events while the destination is dead; then it returns. Before that, 300,000, twice."""
    with CloudWatch() as cloud, serve(CONFIG.format(cloud=cloud.properties)) as served:
        shallow = median(
            rate_of(_drained(served, cloud, int(SHALLOW * min(scale, 1)))[0], *WITHIN) for _ in range(TIMES)
        )
        deep = int(DEEP * scale)
        points, memory = _drained(served, cloud, deep)
    for name, part in QUARTERS.items():
        print(f"{name}: {rate_of(points, *part):,.0f} events/s")
    rate = rate_of(points, *WITHIN) / shallow
    report.promise(Target(f"backlog of {deep:,}: rate / that of a shallow one", "≥", RATE, rate))
    report.promise(Target(f"backlog of {deep:,}: memory", "≤", MEMORY_MB, memory, "MB"))


def rate_of(points: Points, start: float, end: float) -> float:
    """Give the events per second between two shares of a drain."""
    total = points[-1][1]
    within = [(at, arrived) for at, arrived in points if arrived and start <= arrived / total <= end]
    return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0])


def _drained(served: Served, cloud: CloudWatch, count: int) -> tuple[Points, float]:
    """Fill a backlog while the destination is dead and let it return; give the drain, and the peak memory in MB."""
    cloud.die()
    filling = Arrivals(served, None)
    sent = load.apart(
        served.url, islice(events.endless(BATCH), -(-count // BATCH)), CONNECTIONS, filling.look
    )
    time.sleep(AT_DEPTH_SECONDS)
    filling.look()
    cloud.start()
    draining = Arrivals(served, cloud)
    deadline = time.monotonic() + DELIVERY_SECONDS
    while draining.look() < count and time.monotonic() < deadline:
        time.sleep(load.LOOK_SECONDS)
    rates = count / (sent.ended - sent.started), rate_of(draining.points, *WITHIN)
    print(
        f"{count:>9,} events: filled at {rates[0]:,.0f}/s with {filling.memory:.0f} MB, "
        f"drained at {rates[1]:,.0f}/s with {draining.memory:.0f} MB",
        flush=True,
    )
    return draining.points, max(filling.memory, draining.memory)
