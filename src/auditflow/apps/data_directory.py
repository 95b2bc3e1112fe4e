"""The data directory: where it is, who holds it."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from pathlib import Path
from typing import Final

from auditflow.errors import DataDirectoryGone, DataDirectoryInUse, DataDirectoryUnusable

LOCK_SECONDS: Final = 3.0
"""How long a starting process waits for another to let go of what it needs."""

DATA_DIRECTORY: Final = Path("auditflow-data")
"""The data directory where nothing else is said."""


_log = logging.getLogger(__name__)


class DataDirectory:
    """Paths inside a data directory, and locks on it that end with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.sqlite"
        self.ledger = path / "ledger.sqlite"
        self.commands = path / "commands"
        self.config = path / "config"
        self.tenants = self.config / "tenants"
        self.keys = path / "keys.json"

    def prepare(self) -> None:
        """Create the directory, for its owner only, and check that it can be written.

        Raises DataDirectoryUnusable.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.path / f".write-test-{os.getpid()}"
            probe.touch()  # no content: a full disk is no reason not to start, it has to be drained
            probe.unlink()
            status = self.path.stat()
        except OSError as error:
            raise self._unusable(error) from None
        if status.st_mode & stat.S_IWOTH:  # as Kubernetes makes an emptyDir: no reason not to start
            _log.warning("everybody may write in the data directory %s: chmod 700 %s", self.path, self.path)
        if status.st_uid not in {os.geteuid(), 0}:
            _log.warning(
                "the data directory %s belongs to the user %d, and AuditFlow runs as %d: chown it",
                self.path,
                status.st_uid,
                os.geteuid(),
            )

    def lock(self, role: str, finishing: float = LOCK_SECONDS) -> int:
        """Hold the directory for one role; give the lock's file descriptor.

        The lock ends with the last process that has the descriptor: a role that inherits it and outlives its
        supervisor keeps it. Another holder is given `LOCK_SECONDS` to let go, or `finishing` seconds when the
        process that took the lock is dead and its roles are finishing their work. Then raises
        DataDirectoryInUse, which names the holder.
        """
        try:
            file = os.open(self.path / f"{role}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        started = time.monotonic()
        while not _taken(file):
            holder = os.pread(file, 100, 0).decode(errors="replace").strip()
            if time.monotonic() - started > (LOCK_SECONDS if _alive(holder) else finishing):
                os.close(file)
                raise DataDirectoryInUse(path=self.path, holder=holder or "another process")
            time.sleep(0.05)
        os.truncate(file, 0)
        os.pwrite(file, f"auditflow {role}, process {os.getpid()}\n".encode(), 0)
        return file

    def check_held(self, role: str, lock: int) -> None:
        """Raise DataDirectoryGone when a lock is not that of the directory which is there now."""
        try:
            there = (self.path / f"{role}.lock").stat()
        except FileNotFoundError:
            raise DataDirectoryGone(path=self.path) from None
        except OSError:  # that says nothing about it
            return
        held = os.fstat(lock)
        if (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            raise DataDirectoryGone(path=self.path)

    def _unusable(self, error: OSError) -> DataDirectoryUnusable:
        suggestion = (
            f"Choose another with --data-dir, or fix it: mkdir -p {self.path} && chown -R $USER {self.path}"
        )
        return DataDirectoryUnusable(path=self.path, reason=error.strerror or error, suggestion=suggestion)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(holder: str) -> bool:
    """Tell whether the process that a lock's text names still runs."""
    try:
        os.kill(int(holder.rpartition(" ")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # it runs, as somebody else
        return True
    return True
