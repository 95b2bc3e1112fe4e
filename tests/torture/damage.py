"""Files damaged, while stopped and while running: what is lost is reported, and what was delivered is not lost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from auditflow.errors import AuditFlowError
from auditflow.ledger import LOST
from auditflow.testing.cloudwatch import StrictCloudWatch

from .absence import Absences
from .checks import Account, Watcher, accounts, dead_letters
from .configuration import NAMES
from .load import Load
from .machine import Machine

FILES = ("journal.sqlite", "ledger.sqlite")
NEVER_AWAY = Absences()
LOAD_SECONDS = 3.0
SETTLE_SECONDS = 90.0


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        for place in range(100, path.stat().st_size, 997):
            file.seek(place)
            file.write(b"\xff\x00")


WAYS: dict[str, Callable[[Path], None]] = {
    "flipped": _flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "deleted": lambda path: path.unlink(),
}


@dataclass(frozen=True)
class Round:
    """One damage: to which file, how, whether while running, and with events still to deliver."""

    file: str
    way: str
    running: bool
    backlog: bool

    @property
    def quiet(self) -> bool:
        """Everything is delivered before and the ledger stays: the journal then loses nothing anybody waits for."""
        return not (self.running or self.backlog) and self.file == "journal.sqlite"

    def __str__(self) -> str:
        when = "while running" if self.running else "while stopped"
        return f"{self.file} {self.way} {when}, {'with' if self.backlog else 'without'} a backlog"


def rounds(seed: int, count: int) -> list[Round]:
    dice = random.Random(seed)
    return [
        Round(dice.choice(FILES), dice.choice(list(WAYS)), dice.random() < 0.5, dice.random() < 0.5)
        for _ in range(count)
    ]


class Damage:
    """Plays rounds and holds the weaker promise: missing events ≤ events reported as LOST_IN_JOURNAL."""

    def __init__(self, machine: Machine, cloud: StrictCloudWatch, load: Load, watcher: Watcher) -> None:
        self.problems: list[str] = []
        self.struck: Counter[str] = Counter()
        self.reported = dict.fromkeys(NAMES, 0)
        """Lost events by pipeline, over the lives of the ledger: a new one starts its counters again."""
        self.accounts: list[Account] = []
        self._lettered = dict.fromkeys(NAMES, 0)
        self._machine, self._cloud, self._load, self._watcher = machine, cloud, load, watcher

    def play(self, one: Round) -> None:
        """Publish, damage, wait until all is settled, compare."""
        if one.backlog:
            self._cloud.fault("deny")
        self._load.going.set()
        time.sleep(LOAD_SECONDS)
        if one.running:
            self._strike(one)
            time.sleep(LOAD_SECONDS)
            self._load.pause()
        else:
            self._load.pause()
            if not one.backlog:
                self._settle(one)
            self._machine.halt()
            self._strike(one)
            self._machine.resume()
        self._cloud.clear_faults()
        rows = self._settle(one)
        if rows:
            self._compare(one, rows)

    def _strike(self, one: Round) -> None:
        self.struck[str(one)] += 1
        WAYS[one.way](self._machine.data / one.file)

    def _settle(self, one: Round) -> dict[str, dict]:
        deadline = time.monotonic() + SETTLE_SECONDS
        rows: dict[str, dict] = {}
        while time.monotonic() < deadline:
            rows = self._watcher.status()
            if (
                rows
                and not any(row["pending"] or row["backfilling"] for row in rows.values())
                and self._readable()
            ):
                return rows
            time.sleep(0.2)
        self.problems.append(f"{one}: not settled after {SETTLE_SECONDS:g} s: {rows}")
        return {}

    def _readable(self) -> bool:
        """Tell whether the ledger's dead letters can be read: damage may be met in them before serve meets it."""
        try:
            for name in NAMES:
                dead_letters(self._machine.data / "ledger.sqlite", name)
        except AuditFlowError:
            return False
        return True

    def _compare(self, one: Round, rows: dict[str, dict]) -> None:
        self.accounts = accounts(self._cloud, self._machine.data / "ledger.sqlite", rows)
        for account in self.accounts:
            name = account.pipeline
            before = self._lettered[name]
            now = sum(letter.count for letter in account.letters if letter.code == LOST)
            grown = now - before if now >= before else now
            self._lettered[name] = now
            self.reported[name] += grown
            if one.quiet and grown:
                self.problems.append(f"{name}: {grown} events called lost though all were delivered: {one}")
            missing = len(account.missing(self._load.acknowledged, NEVER_AWAY))
            if missing > self.reported[name]:
                self.problems.append(
                    f"{name}: {missing} missing, {self.reported[name]} reported as lost, after {one}"
                )
