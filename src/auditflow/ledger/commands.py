"""What operators ask of the delivery process, as files in a folder beside the ledger.

The ingest process, which answers operators, never writes the ledger. It leaves a file with the command; the
delivery process carries it out and leaves the answer beside it. A command that is left before delivery runs
is carried out when it does; one that was under way at a crash is carried out once more, so that commands
are such as may be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import uuid_utils

from auditflow.errors import AuditFlowError, CommandRefused, CommandWaits, JournalDamaged, JournalUnavailable
from auditflow.storage.sqlite import sync_directory

ANSWER_SECONDS: Final = 10.0
"""How long an operator waits for the delivery process."""
POLL_SECONDS: Final = 0.02
FORGOTTEN_SECONDS: Final = 3600.0
"""An answer that nobody has fetched for so long is dropped, and a draft that a crash has left."""

UNSURE_NANOSECONDS: Final = 50_000_000
"""Two changes of a folder within a tick of its clock look like one."""
MAX_NAMES: Final = 20
"""Pipelines named in a refusal."""

_log = logging.getLogger(__name__)

Values = dict[str, Any]
CarryOut = Callable[[str, Values], Values]
"""Does what a command with this name and these values says, and gives what it came to."""


class Commands:
    """The folder of commands, seen from either side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = 0
        """When the folder had last changed, Unix time in nanoseconds."""

    async def ask(self, name: str, **values: Any) -> Values:
        """Have a command carried out and give what it came to.

        Raises CommandRefused with the delivery process's reason, CommandWaits when it does not answer in time.
        """
        path = self.leave(name, **values)
        answer = path.with_suffix(".answer")
        deadline = time.monotonic() + ANSWER_SECONDS
        while not answer.exists():
            if time.monotonic() > deadline:
                raise CommandWaits(seconds=round(ANSWER_SECONDS))
            await asyncio.sleep(POLL_SECONDS)
        result: Values = msgspec.json.decode(answer.read_bytes())
        answer.unlink(missing_ok=True)
        if "refused" in result:
            raise CommandRefused(reason=result["refused"], status=result["status"])
        return result

    def waiting(self) -> bool:
        """Tell whether commands may wait: the folder has changed since this was asked last, or a moment ago."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:
            return False
        seen, self._seen = self._seen, changed
        return changed != seen or time.time_ns() - changed < UNSURE_NANOSECONDS

    def carry_out(self, carry_out: CarryOut) -> int:
        """Carry out the commands that wait, oldest first, and answer each; give how many there were.

        What one raises is its answer, whatever it is: left to end the process, it would do so at every start
        again. Raises JournalDamaged.
        """
        try:
            waiting = sorted(self._folder.glob("*.command")) if self._folder.exists() else []
        except OSError:  # they wait until it can be read, so that it has to be looked at again
            self._seen = 0
            return 0
        for path in waiting:
            try:
                name, values = msgspec.json.decode(path.read_bytes(), type=tuple[str, Values])
                result = carry_out(name, values)
            except JournalDamaged:
                raise
            except Exception as error:  # noqa: BLE001 - see above
                reason = (
                    str(error)
                    if isinstance(error, AuditFlowError)
                    else f"It cannot be carried out: {error!r}"
                )
                level = logging.INFO if isinstance(error, CommandRefused) else logging.ERROR
                _log.log(level, "the command in %s is refused: %s", path, reason)
                result = {"refused": reason.rstrip("."), "status": getattr(error, "status", 503)}
            _answer(path, result)
        if waiting:
            self._drop_forgotten()
        return len(waiting)

    def leave(self, name: str, **values: Any) -> Path:
        """Leave a command for the delivery process; give its file. Raises JournalUnavailable."""
        path = self._folder / f"{uuid_utils.uuid7()}.command"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(path, msgspec.json.encode((name, values)))
            sync_directory(path)
        except OSError as error:
            raise JournalUnavailable(path=self._folder, reason=error.strerror or error) from None
        return path

    def _drop_forgotten(self) -> None:
        for left in (*self._folder.glob("*.answer"), *self._folder.glob("*.draft")):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > FORGOTTEN_SECONDS:
                    left.unlink()


def no_such_pipeline(name: str, running: Iterable[str]) -> str:
    """Say that no pipeline of this name runs, and which of the same tenant do."""
    tenant = name.rpartition("/")[0]
    known = [each for each in running if each.rpartition("/")[0] == tenant]
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    names = ", ".join(known[:MAX_NAMES]) or "none"
    return f"No pipeline named {name!r} runs; those that do: {names}{more}"


def _answer(command: Path, result: Values) -> None:
    """Leave the answer, where the disk takes it, and drop the command."""
    try:
        write_whole(command.with_suffix(".answer"), msgspec.json.encode(result))
    except OSError as error:
        _log.error("the answer to %s cannot be written: %s", command, error)
    command.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name when it is complete and on disk."""
    draft = path.with_suffix(path.suffix + ".draft")
    with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - it takes a descriptor
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
