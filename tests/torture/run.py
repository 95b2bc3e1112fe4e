"""One run: the parts brought together, and the final account."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from auditflow.testing.cloudwatch import StrictCloudWatch

from .absence import Absences
from .checks import Watcher, accounts
from .configuration import NAMES, RENAMED
from .damage import Damage, rounds
from .faults import Striker
from .load import Load
from .machine import Machine
from .report import Result
from .schedule import KINDS, schedule
from .shim import FAILED, JUMPED, UNREAD, Shim

START_SECONDS = 60.0
SETTLE_SECONDS = 180.0
"""After the last fault: pauses between attempts grow to a minute."""
ROUND_SECONDS = 15.0
"""About what a round of damage takes."""
SHIMMED = {"fsync error", "read error", "clock jump"}


def torture(seed: int, seconds: float, rate: float, only: Sequence[str] = KINDS) -> Result:
    """Strike for so many seconds, with `only` these faults; wait until all is settled, account for every event."""
    with _system(seed, seconds, rate) as (machine, cloud, shim, result):
        faults = schedule(seed, seconds, tuple(kind for kind in only if kind not in result.left_out))
        _show(f"seed {seed}, {seconds:g} s, left out: {result.left_out or 'nothing'}", *faults)
        striker = Striker(machine, cloud, shim)
        result.struck = striker.struck
        load, watcher = Load(machine.url, seed, rate), Watcher(machine.url, striker.absences)
        with _running(machine, load, watcher, result):
            striker.run(faults, time.monotonic())
            load.stop()
            result.settle_seconds = wait(lambda: _settled(watcher, striker.absences), SETTLE_SECONDS)
            machine.forget(RENAMED)  # which is put on record: one more event
            wait(lambda: _settled(watcher, striker.absences), SETTLE_SECONDS)
            rows = watcher.status()
        result.problems += striker.problems
        result.struck["fsync error: calls"] = shim.get(FAILED)
        result.struck["clock jump: readings"] = shim.get(JUMPED)
        result.struck["read error: calls"] = shim.get(UNREAD)
        if result.settle_seconds is None:
            result.problems.append(f"not settled {SETTLE_SECONDS:g} s after the last fault: {rows}")
            return result
        result.accounts = accounts(cloud, machine.data / "ledger.sqlite", rows)
        for account in result.accounts:
            result.problems += account.problems(load, striker.absences, striker.deaths)
    return result


def damage(seed: int, seconds: float, rate: float) -> Result:
    """Damage the journal's and the ledger's file, round after round; hold the weaker promise."""
    with _system(seed, seconds, rate) as (machine, cloud, _, result):
        drawn = rounds(seed, max(1, int(seconds / ROUND_SECONDS)))
        _show(f"seed {seed}, {len(drawn)} rounds of damage", *drawn)
        load, watcher = Load(machine.url, seed, rate), Watcher(machine.url, Absences(), monotonic=False)
        play = Damage(machine, cloud, load, watcher)
        with _running(machine, load, watcher, result):
            for one in drawn:
                play.play(one)
        result.problems += play.problems
        result.struck = play.struck
        result.accounts, result.lost = play.accounts, play.reported
        result.settle_seconds = 0.0
    return result


@contextmanager
def _system(
    seed: int, seconds: float, rate: float
) -> Iterator[tuple[Machine, StrictCloudWatch, Shim, Result]]:
    """Give the parts, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name, StrictCloudWatch() as cloud:
        shim = Shim(Path(name))
        with _small_disk(Path(name) / "data") as mounted:
            left_out = (set() if shim.usable else SHIMMED) | (set() if mounted else {"disk full"})
            machine = Machine(Path(name), cloud, shim, _ports())
            yield machine, cloud, shim, Result(seed, seconds, rate, sorted(left_out))


@contextmanager
def _running(machine: Machine, load: Load, watcher: Watcher, result: Result) -> Iterator[None]:
    machine.start()
    try:
        wait(watcher.status, START_SECONDS)
        load.start()
        watcher.start()
        yield
    finally:
        load.stop()
        watcher.stop()
        result.ended = machine.ended_by_themselves()
        status = machine.stop()
        result.log = machine.log.read_text(errors="replace")
    result.problems += [*load.problems, *watcher.problems, *machine.problems, *machine.tracebacks()]
    result.problems += [f"serve ended with status {status} when asked to stop"] if status else []
    result.count(load, watcher)


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system for the data; give whether that was allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256m", "none", str(folder)]
    mounted = subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _ports() -> int:
    """Give a port that is free together with the next one.

    Below the range that outgoing connections draw from: one of those would take the port while serve is down.
    """
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as one, socket.socket() as two, suppress(OSError):
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 1))
            return port


def _show(*lines: object) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _settled(watcher: Watcher, absences: Absences) -> bool:
    """Tell whether every pipeline is back and owes nothing, but for the one that was there under another name."""
    rows = watcher.status()
    owing = {name for name, row in rows.items() if row["pending"] or row["backfilling"]}
    return rows.keys() >= set(NAMES) and owing <= {RENAMED} and absences.settled


def wait(condition: Callable[[], object], seconds: float) -> float | None:
    """Wait for the condition; give how long that took, None when it did not come."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.1)
    return None
