"""Runs a target on case after case, each made from the seed and its number, so that one can be repeated."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from . import conditions, config, decode, redaction

TARGETS: dict[str, Callable[[random.Random], None]] = {
    "conditions": conditions.check,
    "config": config.check,
    "decode": decode.check,
    "redaction": redaction.check,
}
"""Each makes one input from the dice and raises when AuditFlow does not do with it what it should."""


@dataclass
class Result:
    target: str
    seed: int
    cases: int
    finding: str = ""

    def __str__(self) -> str:
        if not self.finding:
            return f"{self.target}: {self.cases:,} cases, nothing found"
        again = f"python -m tests.fuzz {self.target} --seed {self.seed} --first {self.cases} --seconds 1"
        return f"{self.finding}\n{self.target}: case {self.cases}; again with: {again}"


def fuzz(target: str, seconds: float, seed: int, first: int = 0) -> Result:
    ends = time.monotonic() + seconds
    case = first
    while case == first or time.monotonic() < ends:
        try:
            TARGETS[target](random.Random(f"{seed}/{case}"))
        except Exception:  # noqa: BLE001 - whatever breaks is what is looked for
            return Result(target, seed, case, traceback.format_exc())
        case += 1
    return Result(target, seed, case - first)
