"""What was measured, for people: as it comes, as a table, as a plot."""

from __future__ import annotations

import os
import platform
from html import escape
from pathlib import Path

from measure import Run, Target

HERE = Path(__file__).parent
HEAD = (
    f"{'case':<26} {'subject':<11} {'published/s':>12} {'delivered/s':>12} {'p50 ms':>8} {'p99 ms':>8}"
    f" {'us/event':>9} {'x json.loads':>13} {'MB':>6}   of it"
)


class Report:
    """Collects, and prints each line when it is known."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.targets: list[Target] = []
        self.missing: list[str] = []
        """What could not be measured, and why."""
        self._load = os.getloadavg()[0]

    def begin(self, case: str, about: str) -> None:
        """Say what comes next."""
        print(f"\n{case}: {about}\n{HEAD}", flush=True)

    def add(self, run: Run) -> Run:
        """Note a run."""
        self.runs.append(run)
        print(_line(run), flush=True)
        return run

    def promise(self, target: Target) -> None:
        """Note what came of a target."""
        self.targets.append(target)
        print(f"  -> {_sentence(target)}", flush=True)

    def miss(self, what: str) -> None:
        """Note what could not be measured."""
        self.missing.append(what)
        print(f"  -> not measured: {what}", flush=True)

    def table(self) -> str:
        """Give the targets as a Markdown table."""
        rows = [
            f"| {each.what} | {each.bound} {_figure(each.limit)}{_unit(each)} "
            f"| {_figure(each.measured)}{_unit(each)} | {'met' if each.met else '**not met**'} |"
            for each in self.targets
        ]
        head = ["| case | target | measured | |", "| --- | --- | --- | --- |"]
        return "\n".join(head + rows + [f"| {what} | | | not measured |" for what in self.missing])

    def write(self) -> None:
        """Write results.md and results.svg beside this file."""
        cores, python = os.cpu_count(), platform.python_version()
        runs = "\n".join([HEAD, *map(_line, self.runs)])
        (HERE / "results.md").write_text(
            f"# Results\n\nOn {cores} cores, {platform.system()} {platform.machine()}, Python {python}; "
            f"`json.loads` {_yardstick(self.runs)} µs; load average before it began {self._load:.1f}.\n\n{self.table()}\n\n"
            f"![Measured as a share of what is allowed](results.svg)\n\n```\n{runs}\n```\n"
        )
        (HERE / "results.svg").write_text(_plot(self.targets))


def _line(run: Run) -> str:
    parts = {**run.parts, "generator": run.generator, "cloudwatch": run.destination}
    shares = " ".join(f"{name} {cpu:.1f}" for name, cpu in parts.items())
    return (
        f"{run.case:<26} {run.subject:<11} {run.published:>12,.0f} {run.delivered:>12,.0f} {run.p50 * 1e3:>8.1f}"
        f" {run.p99 * 1e3:>8.1f} {run.cpu:>9.2f} {run.ratio:>13.2f} {run.memory:>6.0f}   {shares}"
    )


def _sentence(target: Target) -> str:
    return (
        f"{target.what}: {_figure(target.measured)}{_unit(target)}, target {target.bound} "
        f"{_figure(target.limit)}{_unit(target)}: {'met' if target.met else 'NOT MET'}"
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits either way


def _unit(target: Target) -> str:
    return f" {target.unit}" if target.unit else ""


def _yardstick(runs: list[Run]) -> str:
    found = [run.yardstick for run in runs]
    return f"{min(found):.1f} to {max(found):.1f}" if found else "not measured"


ROW, LABEL, FULL, WIDEST = 26, 360, 200, 3.0
"""Pixels of a row, of the words before it, and of a bar that just meets its target; longer bars are cut at WIDEST."""


def _plot(targets: list[Target]) -> str:
    """Draw a bar for each target: what is measured as a share of what is allowed."""
    height = ROW * (len(targets) + 1)
    bars = "".join(_bar(target, ROW * at) for at, target in enumerate(targets))
    edge = f'<path d="M{LABEL + FULL} 0V{height - ROW}" stroke="#222" stroke-dasharray="4 3"/>'
    words = (
        f'<text x="{LABEL + FULL}" y="{height - 8}" text-anchor="middle">target (shorter is better)</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + FULL * WIDEST + 80:.0f}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f"{bars}{edge}{words}</svg>\n"
    )


def _bar(target: Target, top: int) -> str:
    width = FULL * min(target.share, WIDEST)
    colour = "#2a9d8f" if target.met else "#d1495b"
    return (
        f'<text x="{LABEL - 8}" y="{top + 18}" text-anchor="end">{escape(target.what)}</text>'
        f'<rect x="{LABEL}" y="{top + 5}" width="{width:.0f}" height="{ROW - 8}" fill="{colour}"/>'
        f'<text x="{LABEL + width + 6:.0f}" y="{top + 18}">{_figure(target.measured)}{escape(_unit(target))}</text>'
    )
