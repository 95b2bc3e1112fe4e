"""Copies of the tenants' files as they were when they were last good: what is broken by the next start goes on as they say."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from auditflow.config.tenants.file import TenantFile

_log = logging.getLogger(__name__)


class TenantCopies:
    """A folder of copies, readable by this user alone, which one process writes. Methods block."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.folder = folder
        self.writes = writes
        """Whether this process is the one that writes them."""
        self._kept: dict[str, bytes] = {}
        """Digests of what has been written, by name of the file."""

    def keep(self, files: Iterable[TenantFile]) -> None:
        """Copy those that are good and new or changed; forget those that are gone. A full disk only keeps it from that."""
        if not self.writes:
            return
        files = list(files)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in files:
                if file.offered is not None and file.offered == file.active:
                    self._copy(file)
            self._forget_all_but({file.path.name for file in files})
        except OSError as error:
            _log.warning("the tenants' files are not copied to %s: %s", self.folder, error.strerror or error)

    def _copy(self, file: TenantFile) -> None:
        name = file.path.name
        if self._kept.get(name) == file.digest:
            return
        content = file.path.read_bytes()
        if hashlib.sha256(content).digest() != file.digest:
            return  # it has changed again, and is looked at again
        draft = self.folder / f".{name}"
        draft.touch(mode=0o600)
        draft.write_bytes(content)
        draft.rename(self.folder / name)
        self._kept[name] = file.digest

    def _forget_all_but(self, names: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.name not in names:
                path.unlink()
                self._kept.pop(path.name, None)
