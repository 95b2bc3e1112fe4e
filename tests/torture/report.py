"""The report of a run, as Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .checks import Account, Watcher
from .load import Load


@dataclass
class Result:
    seed: int
    seconds: float
    rate: float
    left_out: list[str]
    struck: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Lines of the log about roles that ended."""
    lost: dict[str, int] = field(default_factory=dict)
    """Events reported as lost, by pipeline, when files were damaged."""
    settle_seconds: float | None = None
    published: int = 0
    acknowledged: int = 0
    refused: int = 0
    checks: int = 0
    log: str = field(default="", repr=False)
    """What serve logged."""

    def count(self, load: Load, watcher: Watcher) -> None:
        self.published, self.acknowledged = len(load.published), len(load.acknowledged)
        self.refused, self.checks = load.refused, watcher.checks

    def markdown(self) -> str:
        settled = (
            "never" if self.settle_seconds is None else f"{self.settle_seconds:.1f} s after the last fault"
        )
        lines = [
            f"# Torture, seed {self.seed}: {'FAILED' if self.problems else 'passed'}", "",
            f"- faults for {self.seconds:g} s, load {self.rate:g} events/s at most",
            f"- faults left out: {', '.join(self.left_out) or 'none'}",
            f"- published {self.published:,}, acknowledged {self.acknowledged:,}, requests refused {self.refused:,}",
            f"- balance checks {self.checks:,}; nothing pending: {settled}",
            f"- times a role was started again: {len(self.ended)}", "",
            *(f"- {name}: {count:,} events reported as lost" for name, count in self.lost.items()),
            "| pipeline | accepted | delivered | filtered | dead letters | repeats | of them without a death | reported |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |", *map(_row, self.accounts), "",
            "| fault | times |", "| --- | --- |",
            *(f"| {kind} | {count:,} |" for kind, count in sorted(self.struck.items())), "",
            *(f"- PROBLEM: {problem}" for problem in self.problems),
        ]  # fmt: skip
        return "\n".join(lines).rstrip() + "\n"


def _row(account: Account) -> str:
    row = account.row
    cells = (row["accepted"], row["delivered"], row["filtered"], row["deadLettered"],
             account.repeats, account.unexplained, row["possibleDuplicates"])  # fmt: skip
    return f"| {account.pipeline} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"
