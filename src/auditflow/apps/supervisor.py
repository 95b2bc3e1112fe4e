"""Runs both roles as processes of their own and keeps them running.

The supervisor binds the sockets, so that a role that dies and starts again loses no connection that was
waiting, and holds one end of a pipe whose other end is each role's standard input, so that no role outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from auditflow.apps.health import trusting
from auditflow.apps.lifecycle import EXIT_DAMAGED, GO, LISTENER, SUPERVISED, stop_requested
from auditflow.errors import AuditFlowError

STABLE_SECONDS: Final = 30.0
"""A role that has run this long starts again at once when it ends; a shorter one waits, longer each time."""
PAUSE_CAP_SECONDS: Final = 10.0
WATCH_SECONDS: Final = 1.0
"""How often the data directory is looked at."""
KILL_SECONDS: Final = 5.0
"""How long beyond the shutdown timeout a role may take before it is killed."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Role:
    """A role process: its name, its command, the socket it listens on, its lock on the data directory."""

    name: str
    command: Sequence[str]
    listener: socket.socket
    lock: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its own."""
    tls: bool = False
    """Whether it answers in TLS."""
    process: asyncio.subprocess.Process | None = None
    failures: int = 0
    started: float = field(default=0.0)

    async def start(self, *, hold: bool = False) -> asyncio.subprocess.Process:
        """Start the process. With `hold` it loads its code and waits for `release` before it touches the data."""
        descriptor = self.listener.fileno()
        environment = os.environ | self.environment | {SUPERVISED: "1", LISTENER: str(descriptor)}
        self.started = time.monotonic()
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, pass_fds=[descriptor, self.lock], env=environment
        )
        if not hold:
            self.release()
        return self.process

    def release(self) -> None:
        """Let a process that is held go on; one that was killed meanwhile is found dead by who waits for it."""
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # uvloop raises the latter for a closed pipe
                self.process.stdin.write(GO)

    def terminate(self) -> None:
        """Ask the process to stop, if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """End the process, if it runs still."""
        if self.process is not None and self.process.returncode is None:
            _log.error("%s has not stopped in time and is killed", self.name)
            self.process.kill()

    def pause(self) -> float:
        """Give the seconds to wait before starting again."""
        stable = time.monotonic() - self.started > STABLE_SECONDS
        self.failures = 0 if stable else self.failures + 1
        return 0.0 if stable else min(PAUSE_CAP_SECONDS, 0.1 * 2**self.failures)


async def supervise(
    ingest: Role,
    delivery: Role,
    shutdown_seconds: float,
    hung_up: Callable[[], object],
    check_directory: Callable[[], None],
) -> int:
    """Run both roles until a signal; give the exit status. `hung_up` is called on SIGHUP.

    `check_directory` raises DataDirectoryGone: then everything ends, for another process may hold what is there now.

    Delivery begins when ingest is ready, because ingest fixes the data directory and enters the pipelines in
    the ledger. When a role finds the directory damaged, or is killed while it starts, both begin again. A role
    that cannot start at all has said why: then everything ends with its status.
    """
    stopping = stop_requested()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _hung_up, hung_up)
    roles = (ingest, delivery)
    while True:
        status = await _start(roles, stopping)
        ending = asyncio.Event()
        keepers = [asyncio.create_task(_keep(role, ending)) for role in roles] if status is None else []
        if keepers:
            watching = asyncio.create_task(_watch(check_directory, ending))
            told = asyncio.create_task(stopping.wait())
            damaged = asyncio.create_task(ending.wait())
            await asyncio.wait([told, damaged], return_when=asyncio.FIRST_COMPLETED)
            ending.set()
            watching.cancel()
        _log.info("stopping: finishing what is in progress")
        await _stop(roles, keepers, shutdown_seconds)
        if stopping.is_set():
            return 0
        check_directory()
        if status is not None and status != EXIT_DAMAGED and status > 0:
            return status
        with contextlib.suppress(
            TimeoutError
        ):  # not at once, should the damage or the kill come back each time
            await asyncio.wait_for(stopping.wait(), ingest.pause())


def _hung_up(do: Callable[[], object]) -> None:
    try:
        do()
    except AuditFlowError as error:
        _log.error("%s", error.explained())


async def _start(roles: Sequence[Role], stopping: asyncio.Event) -> int | None:
    """Start the roles, each when the one before is ready; give an exit status if one fails or all are to stop."""
    processes = [await role.start(hold=True) for role in roles]  # loading their code is most of the time
    for role, process in zip(roles, processes, strict=True):
        role.release()
        if not await _ready(role, process, stopping):
            return process.returncode or 1
    host, port = roles[0].listener.getsockname()[:2]
    url = f"http{'s' if roles[0].tls else ''}://{host}:{port}"
    _log.info("ready: publish to %s/audit/publish, see %s/api/v1/status", url, url)
    return None


async def _watch(check_directory: Callable[[], None], ending: asyncio.Event) -> None:
    """End everything as soon as the data directory is gone: nobody would find what is written there."""
    while not ending.is_set():
        try:
            check_directory()
        except AuditFlowError:
            ending.set()
        await asyncio.sleep(WATCH_SECONDS)


async def _keep(role: Role, ending: asyncio.Event) -> None:
    """Start the role again whenever it ends, until everything ends; damage makes everything end."""
    while role.process is not None:
        status = await role.process.wait()
        if status == EXIT_DAMAGED:
            ending.set()
        if ending.is_set():
            return
        pause = role.pause()
        _log.error("%s ended with status %s; it starts again in %.1f s", role.name, status, pause)
        try:
            await asyncio.wait_for(ending.wait(), pause)
        except TimeoutError:
            await role.start()
        if ending.is_set():
            role.terminate()  # it has started this moment and was not asked to stop with the other


async def _ready(role: Role, process: asyncio.subprocess.Process, stopping: asyncio.Event) -> bool:
    """Wait until the role answers on its socket; False when it ends first, or everything is to stop.

    However long it takes: fixing a large journal takes minutes, and giving up would begin it again.
    """
    while process.returncode is None and not stopping.is_set():
        if await _answers(role.listener, tls=role.tls):
            return True
        await asyncio.sleep(0.05)
    return False


async def _answers(listener: socket.socket, *, tls: bool) -> bool:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, port, ssl=trusting() if tls else None)
            if tls:
                writer.close()
                return True  # it has shaken hands; with mTLS it would not hear more of us
            writer.write(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in answer


async def _stop(
    roles: Sequence[Role], keepers: Sequence[asyncio.Task[None]], shutdown_seconds: float
) -> None:
    """Ask every role to stop; kill what has not ended in time."""
    for role in roles:
        role.terminate()
    ends = [asyncio.create_task(role.process.wait()) for role in roles if role.process is not None]
    _, late = await asyncio.wait([*ends, *keepers], timeout=shutdown_seconds + KILL_SECONDS)
    for role in roles:
        role.kill()
    if late:
        await asyncio.wait(late)
