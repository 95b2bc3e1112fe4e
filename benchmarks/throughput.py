"""What an event costs: in batches, routed, one at a time, small and large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import events
import fluent_bit
from machine import CloudWatch, Subject, serve
from measure import Run, Target, middle, run
from report import Report

BATCH = 1000
CONNECTIONS = 4
ROUNDS = 3
BATCHES_RATIO = 0.62
ROUTED_RATIO = 0.85
HALF = 0.5
"""Of Fluent Bit's CPU for the same events in the same run."""
AGAINST_FLUENT_BIT = 1.3
SINGLE_P99_MS = 20
SINGLES = {32: 10_000, 128: 14_000}
"""Durable single-event publishes a second, by connections."""
LINEAR = 1.25
"""So much more than in proportion to its bytes a large event may cost: what is measured is never quite a line."""
PIPELINE = """\
pipelines:
  - name: bench
    {condition}
    sink:
      name: aws_cloudwatch_sink
      properties: {{log-group: /bench, log-stream: '{stream}', {cloud}}}
"""
CONDITION = """condition:
      rules:
        - {field: eventType, operator: exists}
        - {field: extra.actionStatus, operator: in, value: "SUCCESS, FAILURE, DENIED"}
        - {field: extra.durationMs, operator: gte, value: 0}"""


def batches(report: Report, scale: float) -> None:
    """NDJSON batches of 1,000 over four connections, fsync, gzip, TLS; with Fluent Bit beside it."""
    count = _whole(200_000 * scale)
    with _served() as (subject, cloud):
        ours = _rounds(report, "batches", subject, cloud, count)
    report.promise(Target("batches: CPU / json.loads", "≤", BATCHES_RATIO, ours.ratio))
    if not fluent_bit.COMMAND:
        return
    with CloudWatch() as cloud, fluent_bit.serve(cloud) as subject:
        theirs = _rounds(report, "batches", subject, cloud, count)
    report.promise(Target("batches: CPU / Fluent Bit's", "≤", HALF, ours.cpu / theirs.cpu))
    faster = ours.delivered / theirs.delivered
    report.promise(Target("batches: events/s / Fluent Bit's", "≥", AGAINST_FLUENT_BIT, faster))


def routed(report: Report, scale: float) -> None:
    """As batches, with a three-rule condition, and a stream for each of 20 tenants."""
    with _served(CONDITION, "{{ tenantId }}") as (subject, cloud):
        found = _rounds(report, "routed", subject, cloud, _whole(200_000 * scale))
    report.promise(Target("condition, 20 streams: CPU / json.loads", "≤", ROUTED_RATIO, found.ratio))


def single(report: Report, scale: float) -> None:
    """One event a request, each answered when it is durable."""
    for connections, rate in SINGLES.items():
        case, count = f"single x {connections}", _whole(40_000 * scale)
        with _served() as (subject, cloud):
            found = _rounds(report, case, subject, cloud, count, size=1, connections=connections)
        report.promise(Target(f"{connections} connections: publishes/s", "≥", rate, found.published))
        if connections == min(SINGLES):
            report.promise(
                Target(f"{connections} connections: p99", "≤", SINGLE_P99_MS, found.p99 * 1e3, "ms")
            )
    if fluent_bit.COMMAND:
        with CloudWatch() as cloud, fluent_bit.serve(cloud) as subject:
            _rounds(report, "single x 32", subject, cloud, count, size=1, connections=32)


def sizes(report: Report, scale: float) -> None:
    """Small and large events: what one costs lies on a line over its bytes."""
    small, middling, large = (
        _sized(report, size, _whole(count * scale), batch)
        for size, count, batch in ((200, 200_000, BATCH), (20_000, 10_000, 50), (1_000_000, 400, 4))
    )
    slope = (middling - small) / (20_000 - 200)
    on_the_line = small + slope * (1_000_000 - 200)
    report.promise(Target("1 MB: CPU / the line through 200 B and 20 kB", "≤", LINEAR, large / on_the_line))
    usual = [each for each in report.runs if each.case == "batches" and each.subject == "AuditFlow"]
    if usual:
        report.promise(Target("200 B: CPU / that of 457 B", "≤", 1, small / middle(usual).cpu))


def _sized(report: Report, size: int, count: int, batch: int) -> float:
    with _served() as (subject, cloud):
        case = f"{size:,} B"
        return _rounds(
            report, case, subject, cloud, count, size=batch, make=lambda number: events.sized(number, size)
        ).cpu


@contextmanager
def _served(condition: str = "", stream: str = "bench") -> Iterator[tuple[Subject, CloudWatch]]:
    with CloudWatch() as cloud:
        config = PIPELINE.format(condition=condition, stream=stream, cloud=cloud.properties)
        with serve(config) as served:
            yield served, cloud


def _rounds(  # noqa: PLR0913 - all named
    report: Report,
    case: str,
    subject: Subject,
    cloud: CloudWatch,
    count: int,
    *,
    size: int = BATCH,
    connections: int = CONNECTIONS,
    make: Callable[[int], list[bytes]] = events.fresh,
) -> Run:
    """Load three times and give the middle run; a little load beforehand makes connections and streams."""
    lead = max(count // 20, 1)
    run(case, subject, cloud, subject.requests(make(lead), size), count=lead, connections=connections)
    found = [
        report.add(
            run(
                case,
                subject,
                cloud,
                subject.requests(make(count), size),
                count=count,
                connections=connections,
            )
        )
        for _ in range(ROUNDS)
    ]
    return middle(found)


def _whole(count: float) -> int:
    return max(int(count), 10)
