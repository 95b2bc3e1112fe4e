"""What grows: pipelines and tenants, streams, and what is asked of those who publish."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import events
import load
from machine import AUDITFLOW, CloudWatch, serve, wait
from measure import DELIVERY_SECONDS, Arrivals, Run, Target, middle, run
from report import Report

BATCH = 1000
CONNECTIONS = 4
ROUNDS = 3
TENANTS = 1000
PIPELINES_RATIO = 1.5
GUARDED_RATIO = 1.6
STREAMS = 10_000
PER_STREAM = 4
TOGETHER = 10_000
"""Events of one stream lie within so many consecutive ones."""
MEMORY_MB = 300
SHAPES = {
    "by tenant": lambda number: number // BATCH % TENANTS,
    "mixed": lambda number: number % TENANTS,
}
"""Whose events are in a request: one tenant's, or those of all 1,000, as a gateway may gather them."""
PLUGINS = Path(__file__).with_name("plugins")

HEAD = f"plugins: {{directory: '{PLUGINS}'}}\n"
ONE = """\
pipelines:
  - name: bench
    condition: {rules: [{field: eventType, operator: exists}]}
    sink: {name: null_sink}
"""
FOLDER = "tenants: {directory: tenants}\n"
TENANT = """\
tenantId: {id}
enabled: true
quota: {{rateLimitPerSec: 1000000, burst: 1000000}}
pipelines:
"""
HALF = """\
  - name: {name}
    condition: {{rules: [{{field: eventType, operator: {operator}, value: auth.login}}]}}
    sink: {{name: null_sink, properties: {{place: {id}-{name}}}}}
"""
WHOLE = """\
  - name: all
    condition: {{rules: [{{field: eventType, operator: exists}}]}}
    sink: {{name: null_sink, properties: {{place: {id}}}}}
"""
GUARDS = """\
auth: {{api-keys: {{file: '{keys}'}}}}
redaction:
  rules:
    - {{field: extra.userId, action: mask}}
    - {{field: extra.ip, action: mask}}
    - {{field: extra.userAgent, action: drop}}
"""
STREAMED = """\
pipelines:
  - name: bench
    sink:
      name: aws_cloudwatch_sink
      properties: {{log-group: /bench, log-stream: '{{{{ tenantId }}}}', {cloud}}}
"""


def pipelines(report: Report, scale: float) -> None:
    """One pipeline, then 2,000 of 1,000 tenants: each event is for one of its tenant's two. The sink is null_sink."""
    halves = (("login", "equals"), ("other", "notEquals"))
    files = {
        f"tenants/{tenant}.yaml": TENANT.format(id=tenant)
        + "".join(HALF.format(name=name, operator=operator, id=tenant) for name, operator in halves)
        for tenant in _tenants()
    }
    for shape in SHAPES:
        one = _published(report, "1 pipeline", shape, scale, HEAD + ONE, {})
        many = _published(report, "2,000 pipelines", shape, scale, HEAD + FOLDER, files)
        name = f"2,000 pipelines, {shape}: CPU / that of one"
        report.promise(Target(name, "≤", PIPELINES_RATIO, many.cpu / one.cpu))


def guarded(report: Report, scale: float) -> None:
    """Nothing in the way of publishing; then an API key, quotas, three redaction rules, 1,000 tenants, into null_sink."""
    files = {
        f"tenants/{tenant}.yaml": TENANT.format(id=tenant) + WHOLE.format(id=tenant) for tenant in _tenants()
    }
    for shape in SHAPES:
        free = _published(report, "unguarded", shape, scale, HEAD + ONE, {})
        with _key() as (file, key):
            config = HEAD + FOLDER + GUARDS.format(keys=file)
            safe = _published(report, "guarded", shape, scale, config, files, key.decode())
        name = f"key, quota, redaction, {shape}: CPU / without"
        report.promise(Target(name, "≤", GUARDED_RATIO, safe.cpu / free.cpu))


def streams(report: Report, scale: float) -> None:
    """Fill a backlog of four events for each of 10,000 streams; then the destination returns."""
    number = max(int(STREAMS * scale), TOGETHER)
    made = (
        events.fresh(
            TOGETHER, lambda n: n // TOGETHER * (TOGETHER // PER_STREAM) + n % (TOGETHER // PER_STREAM), start
        )
        for start in range(0, number * PER_STREAM, TOGETHER)
    )
    with CloudWatch() as cloud, serve(STREAMED.format(cloud=cloud.properties)) as served:
        cloud.die()
        seen = Arrivals(served, None)
        requests = (request for some in made for request in served.requests(some, BATCH))
        load.apart(served.url, requests, CONNECTIONS, seen.look)
        before, started = sum(served.cpu().values()), time.perf_counter()
        cloud.start()
        wait(lambda: seen.look() or cloud.counts()["stored"] >= number * PER_STREAM, DELIVERY_SECONDS)
        seconds, filled = time.perf_counter() - started, cloud.counts()["events_per_request"]
        cpu = (sum(served.cpu().values()) - before) / number * 1e6
    print(
        f"{number:,} streams in {seconds:.0f} s, {cpu:,.0f} us of CPU a stream; events in a request: {filled}"
    )
    report.promise(Target(f"{number:,} streams: memory", "≤", MEMORY_MB, seen.memory, "MB"))
    report.promise(Target(f"{number:,} streams: requests with one event", "≤", 0, filled["singles"]))


def _published(  # noqa: PLR0913, PLR0917 - one for each part of a case
    report: Report, case: str, shape: str, scale: float, config: str, files: dict[str, str], key: str = ""
) -> Run:
    """Publish three times events of 1,000 tenants; give the middle run."""

    def load_of(number: int) -> Run:
        requests = served.requests(events.fresh(number, SHAPES[shape]), BATCH, headers)
        return run(f"{case}, {shape}", served, None, requests, count=number, connections=CONNECTIONS)

    count = max(int(400_000 * scale), 2 * TENANTS)
    headers = f"X-Api-Key: {key}\r\n".encode() if key else b""
    with serve(config, files, key) as served:
        load_of(TENANTS)
        return middle([report.add(load_of(count)) for _ in range(ROUNDS)])


def _tenants() -> list[str]:
    return [events.TENANT % number for number in range(TENANTS)]


@contextmanager
def _key() -> Iterator[tuple[str, bytes]]:
    """Make a key for every tenant; give its file and the key."""
    with TemporaryDirectory() as folder:
        file = f"{folder}/keys.json"
        command = [AUDITFLOW, "keys", "create", "--name", "bench", "--file", file]
        for right in ("write", "read"):
            command += ["--scope", f"audit-event:{right}"]
        made = subprocess.run(command, capture_output=True, check=False)
        if made.returncode:
            raise RuntimeError(made.stderr.decode())
        yield file, made.stdout.split()[-1]
