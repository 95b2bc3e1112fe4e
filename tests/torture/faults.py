"""The faults of a run: struck at their times, and ended when they have lasted long enough."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from auditflow.testing.cloudwatch import StrictCloudWatch

from .absence import Absences
from .configuration import CHANGES
from .machine import Machine
from .maintenance import maintain
from .schedule import BROKEN, Fault
from .shim import FSYNC, JUMP, READ, Shim

END_SECONDS = 45.0
"""A role whose supervisor died has this long: shutdown-timeout (25 s), a margin, and a noisy machine."""
SHIMS = {"clock": (JUMP, 1), "fsync": (FSYNC, 1000), "read": (READ, 1000)}

Ending = Callable[[], object]


class Striker:
    """Strikes a machine, its disk, its files and its destination."""

    def __init__(self, machine: Machine, cloud: StrictCloudWatch, shim: Shim) -> None:
        self.problems: list[str] = []
        self.deaths: list[float] = []
        """Unix times at which the delivery role died or was made to."""
        self.struck: Counter[str] = Counter()
        self.absences = Absences()
        self._machine, self._cloud, self._shim = machine, cloud, shim
        self._open: list[tuple[float, Ending]] = []
        """When a fault ends, in seconds from the start, and what ends it."""
        self._threads: list[threading.Thread] = []
        self._ways: dict[str, Callable[[Fault, str], Ending | None]] = {
            "kill": self._kill, "stop": self._stop, "cloud": self._answer, "disk": self._fill,
            "reload": self._reload, "pipeline": self._take_away, "maintenance": self._maintain,
        }  # fmt: skip

    def run(self, faults: list[Fault], started: float) -> None:
        """Strike at the appointed times, and end what has lasted long enough."""
        waiting = list(faults)
        while waiting or self._open:
            now = time.monotonic() - started
            for ended in [each for each in self._open if each[0] <= now]:
                self._open.remove(ended)
                ended[1]()
            while waiting and waiting[0].at <= now:
                fault = waiting.pop(0)
                ending = self._begin(fault)
                if ending is not None:
                    self._open.append((now + fault.seconds, ending))
            time.sleep(0.02)
        for thread in self._threads:
            thread.join()

    def _begin(self, fault: Fault) -> Ending | None:
        """Strike; give what ends the fault, or None when there is nothing to end or to strike."""
        what, _, which = fault.kind.partition(" ")
        if what in {"kill", "stop"} and which not in self._machine.roles():
            return None
        self.struck[fault.kind] += 1
        return self._ways.get(what, self._steer)(fault, which)

    def _kill(self, _: Fault, which: str) -> None:
        roles = self._machine.roles()
        with suppress(ProcessLookupError, KeyError):
            os.kill(roles[which], signal.SIGKILL)
        if which != "ingest":
            self.deaths.append(time.time())
        if which == "serve":
            self._beside(self._expect_end, [pid for name, pid in roles.items() if name != "serve"])

    def _stop(self, _: Fault, which: str) -> Ending | None:
        pid = self._machine.roles().get(which)
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        return lambda: _continue(pid)

    def _answer(self, fault: Fault, which: str) -> Ending:
        struck = self._cloud.fault(which, rate=fault.amount, seconds=fault.seconds)

        def end() -> None:
            struck.times = 0
            self.struck[f"{fault.kind}: requests"] += struck.hits

        return end

    def _fill(self, _: Fault, __: str) -> Ending:
        file = fill(self._machine.data / "filling")
        return lambda: file.unlink(missing_ok=True)

    def _reload(self, fault: Fault, _: str) -> Ending:
        """Change a setting, or break the file, until the fault ends."""
        self._machine.config.in_flight("many" if fault.amount == BROKEN else 1 + len(self._open))
        return lambda: self._machine.config.in_flight(4)

    def _take_away(self, _: Fault, change: str) -> Ending:
        """Take a pipeline away, most likely with a backlog: its destination denies meanwhile."""
        pipeline = CHANGES[change]
        denial = self._cloud.fault("deny", group=f"/torture/{pipeline.partition('/')[0]}")
        self.absences.begin(pipeline)
        self._machine.config.begin(change)

        def end() -> None:
            denial.times = 0
            if self._machine.config.end(change):
                self.absences.end(pipeline)

        return end

    def _maintain(self, _: Fault, __: str) -> None:
        self.deaths.append(time.time())  # what does not end in time when asked to is killed
        self._beside(maintain, self._machine)

    def _steer(self, fault: Fault, _: str) -> Ending:
        place, unit = SHIMS[fault.kind.partition(" ")[0]]
        self._shim.set(place, int(fault.amount * unit))
        return lambda: self._shim.set(place, 0)

    def _beside(self, act: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=act, args=arguments))
        self._threads[-1].start()

    def _expect_end(self, orphans: list[int]) -> None:
        deadline = time.monotonic() + END_SECONDS
        while left := [pid for pid in orphans if alive(pid)]:
            if time.monotonic() > deadline:
                self.problems.append(
                    f"{len(left)} roles outlive their killed supervisor by {END_SECONDS:g} s"
                )
                return
            time.sleep(0.2)


def _continue(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def fill(file: Path) -> Path:
    """Leave not a byte of the file system free."""
    with suppress(OSError), file.open("ab", buffering=0) as out:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while out.write(bytes(size)) == size:
                    pass
    return file
