"""Strikes a running `auditflow serve` with random faults and accounts for every event; see docs/torture.md."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from .run import damage, torture
from .schedule import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800, help="how long faults strike (default: 1800)")
    parser.add_argument("--seed", type=int, help="repeats a schedule (default: a random one, printed)")
    parser.add_argument("--rate", type=float, default=300, help="events a second (default: 300)")
    parser.add_argument("--damage", action="store_true", help="damage the data files instead; see the docs")
    parser.add_argument("--report", type=Path, help="file for the report, beside standard output")
    parser.add_argument(
        "--only", nargs="+", choices=KINDS, default=KINDS, help="strike with these faults alone"
    )
    parser.add_argument("--log", type=Path, help="file for what serve logged")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    if given.damage:
        result = damage(seed, given.seconds, given.rate)
    else:
        result = torture(seed, given.seconds, given.rate, given.only)
    if given.log:
        given.log.write_text(result.log)
    if given.report:
        given.report.write_text(result.markdown())
    sys.stdout.write(result.markdown())
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
