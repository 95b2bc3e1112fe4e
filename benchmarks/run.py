"""Measures what AuditFlow promises of its speed, and writes results.md and results.svg. See README.md beside this file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import backlog
import scale
import start
import throughput
from report import Report

CASES: dict[str, Callable[[Report, float], None]] = {
    "start": start.start,
    "batches": throughput.batches,
    "routed": throughput.routed,
    "single": throughput.single,
    "sizes": throughput.sizes,
    "pipelines": scale.pipelines,
    "guarded": scale.guarded,
    "streams": scale.streams,
    "backlog": backlog.backlog,
}
QUICK = 0.15
"""Of the usual load, in the quick form."""


def main() -> None:
    """Run the cases, print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append", help="only this one; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual load")
    parser.add_argument(
        "--quick", action="store_const", dest="scale", const=QUICK, help="for a first impression"
    )
    options = parser.parse_args()
    report, began = Report(), time.monotonic()
    for name in options.case or CASES:
        case = CASES[name]
        report.begin(name, (case.__doc__ or "").strip())
        try:
            case(report, options.scale)
        except RuntimeError as error:  # it did not start, or refused: the other cases can be measured still
            report.miss(f"{name}: {str(error).strip().splitlines()[-1]}")
    print(f"\n{report.table()}\n\n{time.monotonic() - began:.0f} s", flush=True)
    if not options.case and options.scale >= 1:
        report.write()


if __name__ == "__main__":
    main()
