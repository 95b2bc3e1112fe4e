"""Real processes: a supervisor in one of its own, over small roles that live and die as they are told."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from auditflow.apps.lifecycle import EXIT_DAMAGED
from auditflow.apps.supervisor import Role

pytestmark = pytest.mark.slow

SUPERVISOR = """
import asyncio, logging, os, sys
from auditflow.apps import supervisor
from auditflow.apps.http.listener import bind

logging.basicConfig(level="INFO", format="%(message)s")
supervisor.KILL_SECONDS = 0.3
role, journal, *options = sys.argv[1:]
lock = os.open(journal + ".lock", os.O_RDWR | os.O_CREAT)
roles = [
    supervisor.Role(name, [sys.executable, "-S", role, name, journal, *options], bind("127.0.0.1", 0, ""), lock)
    for name in ("ingest", "delivery")
]
for each in roles:
    print(each.listener.getsockname()[1], flush=True)
sys.exit(asyncio.run(supervisor.supervise(*roles, 0.3, lambda: print("hung up", flush=True), lambda: None)))
"""

ROLE = """
import os, signal, socket, sys

name, journal, *options = sys.argv[1:]
def note(what):
    with open(journal, "a") as out:
        out.write(f"{name} {what} {os.getpid()}\\n")

if os.read(0, 3) != b"go\\n":  # held: the supervisor ended, or stopped everything, before our turn came
    sys.exit(0)
note("start")
starts = sum(line.startswith(f"{name} start") for line in open(journal))
for option in options:
    who, what, argument = option.split(":")
    if who == name and what == "exit-at-start":
        sys.exit(int(argument))
    if who == name and what == "damaged-at-first" and starts <= int(argument):
        sys.exit(75)
    if who == name and what == "killed-at-first" and starts <= int(argument):
        os.kill(os.getpid(), signal.SIGKILL)
    if who == name and what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(75))
listener = socket.socket(fileno=int(os.environ["AUDITFLOW_LISTENER"]))
while True:
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    connection.close()
"""


class Supervised:
    """A supervisor with its roles."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "role.py").write_text(ROLE)
        self._journal = folder / "journal"
        self._journal.touch()
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, str(folder / "role.py"), str(self._journal), *options],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.ports = [int(self.process.stdout.readline()) for _ in range(2)]

    @property
    def log(self) -> str:
        return self._log.read_text()

    def starts(self, name: str) -> list[int]:
        """Give the process ids a role has had."""
        return [
            int(pid) for pid in re.findall(rf"^{name} start (\d+)$", self._journal.read_text(), re.MULTILINE)
        ]

    def ready(self) -> "Supervised":
        self.wait_until(lambda: "ready: " in self.log)
        return self

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def end(self) -> int:
        return self.process.wait(120)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*options: str) -> Supervised:
        started.append(Supervised(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        for pid in one.starts("ingest") + one.starts("delivery"):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        one.process.kill()
        one.process.communicate()


def runs(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"role.py" in command  # a zombie has none


def test_delivery_starts_when_ingest_is_ready_and_a_signal_ends_both(supervised):
    one = supervised().ready()
    assert len(one.starts("ingest")) == len(one.starts("delivery")) == 1
    assert f"publish to http://127.0.0.1:{one.ports[0]}/audit/publish" in one.log
    one.process.terminate()
    assert one.end() == 0
    assert not any(map(runs, one.starts("ingest") + one.starts("delivery")))
    assert "killed" not in one.log


def test_a_role_that_dies_is_started_again_and_its_callers_wait_for_it(supervised):
    one = supervised().ready()
    os.kill(one.starts("ingest")[0], signal.SIGKILL)
    one.wait_until(lambda: not runs(one.starts("ingest")[0]))
    with urllib.request.urlopen(f"http://127.0.0.1:{one.ports[0]}/", timeout=60) as answer:
        assert answer.status == 200
    assert len(one.starts("ingest")) == 2
    assert len(one.starts("delivery")) == 1
    assert "ingest ended with status -9; it starts again" in one.log


def test_a_role_that_dies_again_and_again_waits_longer_each_time(supervised):
    one = supervised().ready()
    for count in (1, 2, 3):
        os.kill(one.starts("delivery")[-1], signal.SIGKILL)
        one.wait_until(lambda count=count: len(one.starts("delivery")) > count)
    pauses = [float(pause) for pause in re.findall(r"it starts again in ([\d.]+) s", one.log)]
    assert pauses == [0.2, 0.4, 0.8]


def test_damage_starts_both_again(supervised):
    one = supervised().ready()
    os.kill(one.starts("delivery")[0], signal.SIGUSR1)
    one.wait_until(lambda: one.log.count("ready: ") == 2)
    assert len(one.starts("ingest")) == len(one.starts("delivery")) == 2
    assert not runs(one.starts("ingest")[0])


def test_damage_found_while_starting_starts_both_again_too(supervised):
    one = supervised("delivery:damaged-at-first:1").ready()
    assert len(one.starts("ingest")) == len(one.starts("delivery")) == 2
    assert EXIT_DAMAGED == 75


@pytest.mark.parametrize("name", ["ingest", "delivery"])
def test_a_role_that_cannot_start_ends_everything_with_its_status(supervised, name):
    one = supervised(f"{name}:exit-at-start:3")
    assert one.end() == 3
    assert not any(map(runs, one.starts("ingest") + one.starts("delivery")))
    assert len(one.starts("delivery")) == (name == "delivery")


@pytest.mark.parametrize("name", ["ingest", "delivery"])
def test_a_role_that_is_killed_while_it_starts_is_started_again(supervised, name):
    one = supervised(f"{name}:killed-at-first:2").ready()
    assert len(one.starts(name)) == 3
    one.process.terminate()
    assert one.end() == 0


async def held_and_killed() -> int | None:
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as lock:
        role = Role("delivery", [sys.executable, "-S", "-c", "input()"], listener, lock.fileno())
        process = await role.start(hold=True)
        process.kill()
        await process.wait()
        await asyncio.sleep(0.1)  # until the loop has seen its pipe close
        role.release()
        return process.returncode


def test_a_role_that_is_killed_before_its_turn_ends_nothing_else():
    assert uvloop.run(held_and_killed()) == -signal.SIGKILL


def test_a_role_that_does_not_stop_in_time_is_killed(supervised):
    one = supervised("delivery:stubborn:").ready()
    started = time.monotonic()
    one.process.terminate()
    assert one.end() == 0
    assert time.monotonic() - started > 0.5
    assert "delivery has not stopped in time and is killed" in one.log
    assert not runs(one.starts("delivery")[0])


def test_a_stop_while_a_role_waits_to_start_again_starts_nothing(supervised):
    one = supervised().ready()
    os.kill(one.starts("delivery")[0], signal.SIGKILL)
    one.wait_until(lambda: "it starts again" in one.log)
    one.process.terminate()
    assert one.end() == 0
    assert len(one.starts("delivery")) == 1
