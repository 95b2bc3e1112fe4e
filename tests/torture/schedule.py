"""What will go wrong and when: drawn from the seed alone, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .configuration import CHANGES

ROLES = ("ingest", "delivery")
CLOUD = ("throttle", "unavailable", "internal", "reset", "reset-after", "hang", "drip", "deny")
HOSTILE = ("garbage", "redirect", "flood", "undecodable", "cut")
KINDS = (
    "kill ingest", "kill delivery", "kill serve", "stop ingest", "stop delivery", "stop serve",
    "disk full", "fsync error", "read error", "clock jump", "reload", "maintenance",
    *(f"pipeline {change}" for change in CHANGES), *(f"cloud {kind}" for kind in (*CLOUD, *HOSTILE)),
)  # fmt: skip
BROKEN = 0.1
"""Amount of a reload whose file is broken."""
JUMPS = (-3600, -300, -10, 10, 300, 3600)
"""Seconds. More than two hours ahead or days back, CloudWatch itself refuses the events."""


@dataclass(frozen=True)
class Fault:
    at: float
    """Seconds from the start of the run."""
    kind: str
    seconds: float
    """How long it lasts; 0 for a kill and for maintenance."""
    amount: float
    """Share of the requests or calls it strikes, or the seconds the clock jumps."""

    def __str__(self) -> str:
        return f"{self.at:8.1f} s  {self.kind:18}  for {self.seconds:4.1f} s  amount {self.amount:g}"


def schedule(seed: int, seconds: float, kinds: tuple[str, ...]) -> list[Fault]:
    """Draw faults, a second or two apart, now and then several at once."""
    dice = random.Random(seed)
    faults: list[Fault] = []
    at = 2.0
    while at < seconds - 2:
        faults += [_fault(dice, at, dice.choice(kinds)) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
        at = round(at + dice.uniform(0.3, 5.0), 2)
    return faults


def _fault(dice: random.Random, at: float, kind: str) -> Fault:
    seconds = 0.0 if kind.startswith(("kill", "maintenance")) else round(dice.uniform(0.3, 6.0), 1)
    amount = dice.choice(JUMPS) if kind == "clock jump" else dice.choice((0.1, 0.5, 1.0))
    return Fault(at, kind, seconds, amount)
