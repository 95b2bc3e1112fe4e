"""How one load is measured, and what is told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

import events
import load
from load import Sent
from machine import CloudWatch, Subject, wait

ARRIVED = 0.95
"""Throughput is taken until so much of the load has arrived: the last request waits for events to fill it."""
DELIVERY_SECONDS = 600.0
YARDSTICK_BATCH = 1000


@dataclass(frozen=True)
class Run:
    """What one load came to. CPU is in microseconds per event."""

    case: str
    subject: str
    events: int
    published: float
    """Events acknowledged per second."""
    delivered: float
    """Events that arrived at the destination per second; 0 when nobody counted them there."""
    p50: float
    """Of the seconds that a request waits for its answer."""
    p99: float
    parts: dict[str, float]
    """CPU by process."""
    yardstick: float
    """CPU of `json.loads`."""
    memory: float
    """Peak proportional memory of all parts together, in MB."""
    generator: float
    """CPU of the load generator."""
    destination: float
    """CPU of the CloudWatch server."""

    @property
    def cpu(self) -> float:
        """CPU of all parts."""
        return sum(self.parts.values())

    @property
    def ratio(self) -> float:
        """CPU of all parts, in units of the yardstick."""
        return self.cpu / self.yardstick


@dataclass(frozen=True)
class Target:
    """A promise, and what was measured of it."""

    what: str
    bound: str
    """`≤` or `≥`."""
    limit: float
    measured: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.share <= 1

    @property
    def share(self) -> float:
        """Measured as a share of what is allowed: up to 1 is within the target."""
        part, whole = (self.measured, self.limit) if self.bound == "≤" else (self.limit, self.measured)
        if not whole:
            return 0.0 if not part else float("inf")
        return part / whole


class Arrivals:
    """Watches events arrive at a destination, and the memory of what delivers them."""

    def __init__(self, subject: Subject, cloud: CloudWatch | None) -> None:
        self.memory = subject.memory()
        self.points: list[tuple[float, int]] = []
        self._subject = subject
        self._cloud = cloud
        self._before = self._count()

    def look(self) -> int:
        """Note memory, and how many events have arrived; give the latter."""
        self.memory = max(self.memory, self._subject.memory())
        self.points.append((time.perf_counter(), self._count() - self._before))
        return self.points[-1][1]

    def rate(self, count: int, started: float) -> float:
        """Give events per second from the start until nearly all had arrived."""
        enough = (point for point in self.points if point[1] >= count * ARRIVED)
        at, arrived = next(enough, (started, 0))
        return arrived / (at - started) if arrived else 0.0

    def _count(self) -> int:
        return int(self._cloud.counts()["stored"]) if self._cloud else 0


def run(  # noqa: PLR0913 - all named
    case: str,
    subject: Subject,
    cloud: CloudWatch | None,
    made: Sequence[bytes],
    *,
    count: int,
    connections: int,
) -> Run:
    """Publish `made`, which holds `count` events, wait until everything has been delivered, and account for it."""
    yardstick = json_loads()
    seen = Arrivals(subject, cloud)
    delivered = subject.delivered()
    before, others = subject.cpu(), cloud.cpu() if cloud else 0.0
    sent = load.apart(subject.url, made, connections, seen.look)
    if cloud:
        wait(lambda: seen.look() >= count, DELIVERY_SECONDS)
    subject.settle(delivered + count)
    seen.look()
    parts = {name: (now - before[name]) / count * 1e6 for name, now in subject.cpu().items()}
    p50, p99 = _waits(sent)
    return Run(
        case,
        subject.name,
        count,
        count / (sent.ended - sent.started),
        seen.rate(count, sent.started),
        p50,
        p99,
        parts,
        min(yardstick, json_loads()),
        seen.memory,
        sent.cpu / count * 1e6,
        (cloud.cpu() - others) / count * 1e6 if cloud else 0.0,
    )


def middle(runs: Sequence[Run]) -> Run:
    """Give the run with the median CPU, over the median yardstick: what else the machine does is in the others."""
    run = sorted(runs, key=lambda run: run.cpu)[len(runs) // 2]
    return replace(run, yardstick=median(each.yardstick for each in runs))


def json_loads() -> float:
    """Give the yardstick: microseconds of CPU that the standard `json.loads` takes for one of the events.

    They are parsed as a consumer would, in batches of 1,000 that are kept until the batch is done.
    """
    return median(_parsing(batch) for batch in _batches()) / YARDSTICK_BATCH * 1e6


def _batches() -> Iterator[list[bytes]]:
    sample = events.fresh(50 * YARDSTICK_BATCH)
    return (sample[at : at + YARDSTICK_BATCH] for at in range(0, len(sample), YARDSTICK_BATCH))


def _parsing(batch: list[bytes]) -> float:
    started = time.process_time()
    parsed = [json.loads(event) for event in batch]
    taken = time.process_time() - started
    del parsed
    return taken


def _waits(sent: Sent) -> tuple[float, float]:
    if len(sent.waits) < 2:  # noqa: PLR2004 - quantiles need two
        return sent.waits[0], sent.waits[0]
    cuts = quantiles(sent.waits, n=100)
    return cuts[49], cuts[98]
