"""AuditFlow's own audit: what is done to it is an audit event, of the tenant `_platform`.

Whoever does something leaves its event as a file, on disk when `note` returns. The ingest process, which alone
writes the journal, appends it and drops the file: none is lost while that does not run, or takes no events.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import uuid_utils

from auditflow.event.model import OWN_SOURCE, OWN_TYPES, encode
from auditflow.ingest.stamp import now_rfc3339
from auditflow.ledger.commands import write_whole
from auditflow.storage.sqlite import sync_directory

FOLDER: Final = "own-audit"
SUFFIX: Final = ".event"
READ: Final = 1_000
"""Events given at once."""
LONGEST_TEXT: Final = 500
LONGEST_LIST: Final = 100

_log = logging.getLogger(__name__)

By = Mapping[str, str | None]
"""Who did it: `actor`, and where they are known its `actorTenant` and the address it came from, `peer`."""

ITSELF: Final[By] = {"actor": OWN_SOURCE}
"""Of what a signal, a changed file or a limit has brought about."""


class OperatorAudit:
    """The events that wait in the folder `own-audit` of a data directory, or beside a file of keys elsewhere.

    With `kept` false nothing is put on record.
    """

    def __init__(self, directory: Path, *, kept: bool = True) -> None:
        self._folder = directory / FOLDER
        self._kept = kept

    def note(self, what: str, by: By, **facts: Any) -> None:
        """Leave the event `auditflow.<what>`. Failing is logged: what was done stays done.

        `facts` are not to hold secrets or what events hold; long ones are cut.
        """
        if not self._kept:
            return
        number = str(uuid_utils.uuid7())
        event = {
            "eventType": OWN_TYPES + what,
            "sourceSystem": OWN_SOURCE,
            "eventId": number,
            "eventTime": now_rfc3339(),
            "correlationId": number,
            "extra": _short({**by, **facts}),
        }
        try:
            self._leave(self._folder / f"{number}{SUFFIX}", encode(event))
        except OSError as error:
            _log.error("%s of own audit cannot be kept in %s: %s", event, self._folder, error.strerror)

    def count(self) -> int:
        """Give how many files there are."""
        return sum(1 for _ in self._folder.iterdir()) if self._folder.exists() else 0

    def waiting(self) -> dict[Path, bytes]:
        """Give the oldest events that wait, by file; what cannot be read just now is left out."""
        found: dict[Path, bytes] = {}
        try:
            paths = sorted(self._folder.glob(f"*{SUFFIX}"))[:READ]
        except OSError:  # they wait until it can be read
            return found
        for path in paths:
            try:
                found[path] = path.read_bytes()
            except OSError as error:
                _log.error("an event of own audit waits in %s: %s", path, error.strerror)
        return found

    def _leave(self, path: Path, event: bytes) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, event)
        sync_directory(path)
        if os.geteuid() == 0:  # root makes a key for a server that runs as the directory's owner
            owner = self._folder.parent.stat()
            for made in (self._folder, path):
                os.chown(made, owner.st_uid, owner.st_gid)


def _short(value: Any) -> Any:
    """Cut what somebody may have made long, and leave out what is not known."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if isinstance(value, list):
        return [_short(one) for one in value[:LONGEST_LIST]]
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items() if one is not None}
    return value
