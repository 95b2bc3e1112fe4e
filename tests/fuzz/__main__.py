"""Feeds one part of AuditFlow with random input until something breaks or time is up."""

from __future__ import annotations

import argparse
import random
import sys

from .run import TARGETS, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=600, help="how long (default: 600)")
    parser.add_argument("--seed", type=int, help="repeats a run (default: a random one, printed)")
    parser.add_argument("--first", type=int, default=0, help="case to begin with: the one that was found")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    sys.stdout.write(f"{given.target}: seed {seed}\n")
    result = fuzz(given.target, given.seconds, seed, given.first)
    sys.stdout.write(f"{result}\n")
    return 1 if result.finding else 0


if __name__ == "__main__":
    sys.exit(main())
