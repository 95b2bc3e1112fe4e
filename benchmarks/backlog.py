"""Measures memory and speed with a deep backlog. See README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import NamedTuple

import load
from machine import CloudWatch, Served, serve

CONFIG = """\
pipelines:
  - {{name: bench, sink: {{name: aws_cloudwatch_sink, properties: {{log-group: /bench, endpoint-url: '{url}'}}}}}}
"""
BATCH = 10_000
SAMPLE_SECONDS = 1.0
POLL_SECONDS = 0.2
AT_DEPTH_SECONDS = 10.0
CONNECTIONS = 4
WHOLE = (0.0, 0.95)
"""The end of a drain is left out: its last batch waits for more."""
QUARTERS = {"first quarter": (0.0, 0.25), "last quarter": (0.75, 0.99), "whole": WHOLE}


class Point(NamedTuple):
    """How far a drain is."""

    at: float
    delivered: int


class Memory:
    """The peaks of resident and proportional memory of all processes together, in MB, by phase."""

    def __init__(self, served: Served) -> None:
        self.peaks: dict[str, dict[str, float]] = defaultdict(dict)
        self.phase = "start"
        self._served = served

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample every second, in a thread."""
        ended = Event()
        thread = Thread(target=self._watch, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, ended: Event) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            parts = {name: _memory(pid) for name, pid in self._served.pids.items()}
            found = {f"{name} RSS": rss for name, (rss, _) in parts.items()}
            found["RSS"], found["PSS"] = (sum(column) for column in zip(*parts.values(), strict=True))
            peaks = self.peaks[self.phase]
            self.peaks[self.phase] = {name: max(now, peaks.get(name, 0)) for name, now in found.items()}


@dataclass(frozen=True)
class Bench:
    """One pipeline, its destination, and the memory of what serves it."""

    served: Served
    destination: CloudWatch
    memory: Memory

    def drained(self, name: str, events: int) -> list[Point]:
        """Fill a backlog while the destination is dead and let it return; give the progress of the drain."""
        before = self._delivered()
        self.destination.die()
        self.memory.phase = f"{name} fill"
        started = time.perf_counter()
        asyncio.run(load.send(self.served.url, islice(load.endless(BATCH), events // BATCH), CONNECTIONS))
        rate = events / (time.perf_counter() - started)
        print(
            f"{name}: {events:,} events, filled at {rate:,.0f}/s, load {os.getloadavg()[0]:.1f}", flush=True
        )
        self.memory.phase = f"{name} at depth"
        time.sleep(AT_DEPTH_SECONDS)
        self.memory.phase = f"{name} draining"
        self.destination.start()
        points = [Point(time.perf_counter(), 0)]
        while points[-1].delivered < events:
            time.sleep(POLL_SECONDS)
            points.append(Point(time.perf_counter(), self._delivered() - before))
        print(
            f"{name}: drained at {rate_of(points, *WHOLE):,.0f}/s, load {os.getloadavg()[0]:.1f}", flush=True
        )
        return points

    def _delivered(self) -> int:
        return int(self.served.pipelines()["bench"]["delivered"])


def rate_of(points: list[Point], start: float, end: float) -> float:
    """Give the events per second between two shares of a drain; the wait for the first retry is none of it."""
    total = points[-1].delivered
    within = [point for point in points if point.delivered > 0 and start <= point.delivered / total <= end]
    return (within[-1].delivered - within[0].delivered) / (within[-1].at - within[0].at)


def _memory(pid: int) -> tuple[float, float]:
    """Give RSS and PSS of a process, in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(kb) / 1024 for kb in re.findall(r"^[RP]ss: +(\d+)", rollup, re.MULTILINE))
    return rss, pss


def main() -> None:
    """Fill a shallow backlog and a deep one, drain both, and print memory and rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000, help="depth of the backlog")
    parser.add_argument("--shallow", type=int, default=300_000, help="depth to compare with")
    parser.add_argument("--times", type=int, default=3, help="how often the shallow one is drained")
    options = parser.parse_args()
    with CloudWatch() as cloud, serve(CONFIG.format(url=cloud.url)) as served:
        memory = Memory(served)
        bench = Bench(served, cloud, memory)
        with memory.watched():
            shallow = [
                rate_of(bench.drained("shallow", options.shallow), *WHOLE) for _ in range(options.times)
            ]
            deep = bench.drained("deep", options.events)
    print("\npeak MB           " + "".join(f"{name:>14}" for name in memory.peaks["deep fill"]))
    for phase, peaks in memory.peaks.items():
        print(f"{phase:<18}" + "".join(f"{peak:>14,.0f}" for peak in peaks.values()))
    print(f"\nshallow, median   {median(shallow):>10,.0f} events/s")
    for name, part in QUARTERS.items():
        rate = rate_of(deep, *part)
        print(f"deep, {name:<13} {rate:>9,.0f} events/s, {rate / median(shallow):.2f} of the shallow median")


if __name__ == "__main__":
    main()
