"""The configuration in force: a copy of the file as it was when it was last good, and what is wrong with it since.

Roles under a supervisor start from the copy, so that one that dies starts again with what the other runs,
whatever has become of the file meanwhile. A role of its own has its own file, and nothing of it is copied: the
delivery role's may hold secrets that the ingest role must not see.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from auditflow import config as configuration
from auditflow.config import Config
from auditflow.config.document import content_of
from auditflow.errors import AuditFlowError, JournalUnavailable, Problem
from auditflow.plugins import Catalogue, discover

IN_FORCE: Final = "AUDITFLOW_CONFIG_IN_FORCE"
"""Set by the supervisor for its roles: the path of the copy."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Where the configuration comes from."""

    path: Path
    plugins: Path | None = None
    """The command line's, in place of the configuration's."""

    def read(self) -> bytes | None:
        """Give the file's content; None where it cannot be read, which loading says better."""
        try:
            return content_of(self.path)
        except OSError:
            return None

    def load(self, text: bytes | None) -> tuple[Config, Catalogue]:
        """Load this content as that of the file. Raises ConfigError, PluginDirectoryMissing."""
        catalogue = discover(self.plugins) if self.plugins else None
        texts = {} if text is None else {self.path: text}
        loaded = configuration.load(self.path, os.environ, catalogue, texts)
        return loaded, discover(self.plugins or loaded.plugins.directory)


class Following:
    """The configuration as another process has put it in force: looked at whenever it is asked for."""

    def __init__(self, file: ConfigFile, read: Callable[[], bytes | None], config: Config) -> None:
        self._file = file
        self._read = read
        self._text = read()
        self._config = config

    def config(self) -> Config:
        """Give it. What is wrong with a changed one, the delivery process says; then the last good one is given."""
        text = self._read()
        if text is not None and text != self._text:
            with suppress(AuditFlowError):
                self._config, _ = self._file.load(text)
            self._text = text
        return self._config


class ActiveConfiguration:
    """The copy, if one is made, and since when it is in force and the problems of what came later."""

    def __init__(self, folder: Path, *, copies: bool) -> None:
        self.copy = folder / "auditflow.yaml"
        self._copies = copies
        self._state = folder / "state.json"

    def text(self) -> bytes | None:
        """Give the copy; None when there is none, or it cannot be read now."""
        try:
            return self.copy.read_bytes()
        except OSError:
            return None

    def keep(self, text: bytes) -> None:
        """Put this configuration in force. Raises JournalUnavailable."""
        if self._copies:
            self._write(self.copy, text)
        self._note({"loadedAt": int(time.time() * 1000), "problems": []})

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Note why a later one is not. Raises JournalUnavailable."""
        shown = [asdict(problem) | {"file": Path(problem.file).name} for problem in problems]
        self._note(self.state() | {"problems": shown})

    def state(self) -> dict[str, Any]:
        """Give `loadedAt`, Unix time in milliseconds, and `problems`, as `Problem` has them."""
        try:
            state: dict[str, Any] = msgspec.json.decode(self._state.read_bytes())
        except (OSError, ValueError):
            return {"loadedAt": None, "problems": []}
        return state

    def _note(self, state: dict[str, Any]) -> None:
        self._write(self._state, msgspec.json.encode(state))

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file, for this user alone, that is either the old one or the new one."""
        draft = path.with_suffix(".draft")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_bytes(content)
            draft.rename(path)
        except OSError as error:
            raise JournalUnavailable(path=path, reason=error.strerror or error) from None
