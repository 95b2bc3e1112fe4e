"""Measures a pipeline's throughput while another one's destination is ill. See README.md beside this file."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, NamedTuple

import events
import load
from machine import CloudWatch, Served, serve

SINK = "{{name: aws_cloudwatch_sink, properties: {{log-group: /{name}, {cloud}}}}}"
ILLNESSES: dict[str, Callable[[CloudWatch], None]] = {
    "dead": lambda destination: destination.die(),
    "hanging": lambda destination: destination.fault("hang", seconds=600),
    "throttled": lambda destination: destination.fault("throttle"),
    "working": lambda _: None,
}
"""What is done to the destination of `ill`. While it works, `ill` catches up with what it has missed."""
LEAD_SECONDS = 3.0
"""So long the load runs before a window begins."""


class Window(NamedTuple):
    """What `healthy` came to."""

    rate: float
    """Events delivered per second."""
    cpu: float
    """Seconds of CPU of all AuditFlow processes per event delivered: it hardly depends on who shares the machine."""


@dataclass(frozen=True)
class Bench:
    """Two pipelines: `healthy`, which is measured, and `ill` with a destination of its own."""

    served: Served
    destination: CloudWatch
    seconds: float

    def baseline(self) -> Window:
        """Measure `healthy` while nothing is asked of the destination of `ill`."""
        return self._window("paused")

    def ill(self, name: str) -> Window:
        """Measure `healthy` while `ill` meets with an illness, which it met well."""
        ILLNESSES[name](self.destination)
        self.served.order("ill", "resume")
        window = self._window(name)
        self._fix()
        return window

    def _window(self, name: str) -> Window:
        with load.steady(self.served.url, events.endless(1000), 4):
            time.sleep(LEAD_SECONDS)
            started, before, cpu = (
                time.perf_counter(),
                self.served.pipelines(),
                sum(self.served.cpu().values()),
            )
            time.sleep(self.seconds)
            elapsed, after = time.perf_counter() - started, self.served.pipelines()
            cpu = sum(self.served.cpu().values()) - cpu
        healthy, ill, accepted = (
            float(after[pipeline][count] - before[pipeline][count])
            for pipeline, count in (("healthy", "delivered"), ("ill", "delivered"), ("healthy", "accepted"))
        )
        print(
            f"{name:<10} {after['ill']['state']:<10} {healthy / elapsed:>10,.0f} {ill / elapsed:>8,.0f}"
            f" {accepted / elapsed:>11,.0f} {cpu / healthy * 1e6:>17.1f} {os.getloadavg()[0]:>13.1f}",
            flush=True,
        )
        while self._row("healthy")["pending"]:
            time.sleep(0.05)
        return Window(healthy / elapsed, cpu / healthy)

    def _fix(self) -> None:
        """Let `ill` work again, as it did before its next illness; then let it wait."""
        self.destination.die()
        self.destination.start()
        before = self._row("ill")["delivered"]
        while self._row("ill")["pending"] and self._row("ill")["delivered"] == before:
            time.sleep(0.05)
        self.served.order("ill", "pause")

    def _row(self, pipeline: str) -> dict[str, Any]:
        return self.served.pipelines()[pipeline]


def main() -> None:
    """Run windows of all illnesses, each between two of the baseline; print each and what they come to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a window")
    options = parser.parse_args()
    with CloudWatch() as healthy, CloudWatch() as ill:
        sinks = {"healthy": healthy.properties, "ill": ill.properties}
        lines = [
            f"  - {{name: {name}, sink: {SINK.format(name=name, cloud=cloud)}}}"
            for name, cloud in sinks.items()
        ]
        with serve("\n".join(["pipelines:", *lines])) as served:
            measure(Bench(served, ill, options.seconds), options.rounds)


def measure(bench: Bench, rounds: int) -> None:
    """Compare every window of an illness with the two of the baseline beside it: a shared machine drifts."""
    print("ill        its state   healthy/s    ill/s  accepted/s  CPU us/delivered  load average", flush=True)
    bench.ill("working")  # counts for nothing: connections are made
    baselines, ratios = [bench.baseline()], dict[str, list[Window]]()
    for _ in range(rounds):
        for name in ILLNESSES:
            window = bench.ill(name)
            baselines.append(bench.baseline())
            ratios.setdefault(name, []).append(ratio(window, baselines[-2:]))
    print("\nhealthy, as a ratio to the windows before and after, in which ill is paused")
    for name, found in ratios.items():
        for what, each in zip(("throughput", "CPU/event"), zip(*found, strict=True), strict=True):
            print(
                f"{name:<10} {what:<11} median {median(each):.2f}   all "
                + " ".join(f"{one:.2f}" for one in each)
            )


def ratio(window: Window, baselines: list[Window]) -> Window:
    """Divide by the mean of the baseline's windows."""
    rate, cpu = (
        each / mean(others) for each, others in zip(window, zip(*baselines, strict=True), strict=True)
    )
    return Window(rate, cpu)


if __name__ == "__main__":
    main()
