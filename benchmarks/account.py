"""Shows where the CPU of ingest and delivery goes, by function of ours. See README.md beside this file."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import events
import load
from machine import CloudWatch, Served, serve
from throughput import BATCH, CONDITION, CONNECTIONS, PIPELINE

PY_SPY = os.environ.get("PY_SPY") or shutil.which("py-spy")
RATE = 250
"""Samples a second."""
LEAST = 0.005
"""Share of a process's CPU below which a function is not listed."""
WAIT = "SSLSocket.read ", "read (ssl.py"
LEAD_SECONDS = 2.0
CASES = {
    "batches": ("", "bench", BATCH, CONNECTIONS),
    "routed": (CONDITION, "{{ tenantId }}", BATCH, CONNECTIONS),
}
CASES["single"] = ("", "bench", 1, 32)
_is_ours = re.compile(r"(\S+) \((?:\S*/)?(auditflow/\S+?\.py)(?::\d+)?\)").fullmatch


def main() -> None:
    """Load a server, sample its processes, print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, default="batches")
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    if PY_SPY is None:
        parser.exit(1, "py-spy is not there: pip install py-spy, or name it by PY_SPY=/path/to/py-spy\n")
    condition, stream, size, connections = CASES[options.case]
    with CloudWatch() as cloud:
        config = PIPELINE.format(condition=condition, stream=stream, cloud=cloud.properties)
        with serve(config) as served, load.steady(served.url, events.endless(size), connections):
            time.sleep(LEAD_SECONDS)
            sample(served, cloud, options.seconds)


def sample(served: Served, cloud: CloudWatch, seconds: int) -> None:
    """Sample both roles at once; print by function what an event takes of their CPU."""
    before, arrived = served.cpu(), cloud.counts()["stored"]
    time.sleep(seconds)
    count = cloud.counts()["stored"] - arrived
    cost = {name: (now - before[name]) / count * 1e6 for name, now in served.cpu().items()}
    with TemporaryDirectory() as folder:
        recording = [_record(pid, f"{folder}/{name}", seconds) for name, pid in served.pids.items()]
        for each in recording:
            each.wait()
        for name in ("ingest", "delivery"):
            print(
                f"\n{name}: {cost[name]:.2f} us of CPU per event, {count / seconds:,.0f} events/s delivered"
            )
            for row in table(Path(folder, name).read_text().splitlines(), cost[name]):
                print(row)


def table(stacks: Iterable[str], cost: float) -> list[str]:
    """Make of folded stacks a line for each function of ours: microseconds, share, and what it calls that is busy.

    A stack counts for the innermost frame that is ours. Left out are threads that wait: for work, which have no frame
    of ours, and for an answer, which py-spy takes for busy.
    """
    stages: Counter[str] = Counter()
    leaves: dict[str, Counter[str]] = defaultdict(Counter)
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        ours = [found for frame in frames if (found := _is_ours(frame))]
        if not ours or frames[-1].startswith(WAIT):
            continue
        stage = f"{ours[-1][2].removeprefix('auditflow/')} {ours[-1][1]}"
        stages[stage] += int(samples)
        leaves[stage][frames[-1].rpartition("/")[2].rstrip(")")] += int(samples)
    total = stages.total()
    return [
        f"{samples / total * cost:6.2f} us {samples / total:6.1%}  {stage:<64}"
        + ", ".join(f"{leaf} {part / samples:.0%}" for leaf, part in leaves[stage].most_common(3))
        for stage, samples in stages.most_common()
        if samples >= total * LEAST
    ]


def _record(pid: int, file: str, seconds: int) -> subprocess.Popen[bytes]:
    command = [str(PY_SPY), "record", "--pid", str(pid), "--format", "raw", "--output", file]
    return subprocess.Popen(
        [*command, "--duration", str(seconds), "--rate", str(RATE)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
