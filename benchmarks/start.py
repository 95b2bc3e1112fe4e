"""How long people and orchestrators wait for the command."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from machine import AUDITFLOW, serve
from measure import Target
from report import Report

TIMES = 5
HELP_SECONDS, CHECK_SECONDS, READY_SECONDS = 0.4, 0.8, 2.0
CONFIG = """\
pipelines:
  - {name: bench, sink: {name: aws_cloudwatch_sink, properties: {log-group: /bench}}}
"""


def start(report: Report, scale: float) -> None:
    """`--help`, `check`, and `serve` until it is ready: the median of five."""
    times = max(1, int(TIMES * scale))
    with TemporaryDirectory() as folder:
        file = Path(folder, "auditflow.yaml")
        file.write_text(CONFIG)
        shown = median(_seconds("--help") for _ in range(times))
        checked = median(_seconds("check", str(file)) for _ in range(times))
    report.promise(Target("auditflow --help", "≤", HELP_SECONDS, shown, "s"))
    report.promise(Target("auditflow check", "≤", CHECK_SECONDS, checked, "s"))
    report.promise(
        Target("serve until ready", "≤", READY_SECONDS, median(_ready() for _ in range(times)), "s")
    )


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([AUDITFLOW, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def _ready() -> float:
    with serve(CONFIG) as served:
        return served.seconds
