"""Puts a changed configuration in force without a restart: whole or not at all."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from auditflow.apps.configuration.active import ActiveConfiguration, ConfigFile
from auditflow.config import Config
from auditflow.config.document import read
from auditflow.errors import AuditFlowError, ConfigError, JournalDamaged, JournalUnavailable, Problem
from auditflow.plugin_call import text_of
from auditflow.plugins import Catalogue

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at; a change counts when it has stood still for so long."""

FIXED: Final = ("server", "auth", "journal", "plugins", "tenants", "secrets")
"""Sections that only a restart puts in force."""

EMPTIED: Final = (
    "there are no pipelines any more, so that nothing would be delivered",
    "write the pipelines, or `pipelines: []` if that is meant",
)
NOT_NOW: Final = "cannot change while AuditFlow runs", "restart AuditFlow, or take this change back"

_log = logging.getLogger(__name__)

Change = Callable[[Config, Catalogue], Awaitable[list[str]]]
"""Goes on with what these say; gives the names of the pipelines that have changed, or raises and changes nothing."""


class Reload:
    """Looks after one file, which had this text and meant this configuration at the start."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is in force, and how it changes
        self,
        file: ConfigFile,
        active_configuration: ActiveConfiguration,
        text: bytes,
        config: Config,
        catalogue: Catalogue,
        change: Change,
    ) -> None:
        self._file = file
        self._active_configuration = active_configuration
        self._text = text
        self.config = config
        """What the file said when it was last put in force."""
        self.on_change: Callable[..., None] | None = None
        """Called when files have changed: with the type of what that is, its `outcome`, and what has `changed` or the `reason` why not."""
        self._catalogue = catalogue
        self._change = change
        self._busy = asyncio.Lock()
        self._seen = self._stamp() if file.read() == text else None
        self._again = False
        """Whether it is to be tried again though nothing shows a change: the file, or what is kept of it, failed."""
        self._told = ""

    async def watch(self, wanted: asyncio.Event) -> None:
        """Reload when the file has changed, or when somebody wants it, until cancelled."""
        before = self._stamp()
        while True:
            stamp = self._stamp()
            again = self._again and self._file.read() is not None
            if wanted.is_set() or again or (stamp != self._seen and stamp == before):
                wanted.clear()
                await self._logged()
            before = stamp
            try:
                await asyncio.wait_for(wanted.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue

    async def reload(self) -> list[str]:
        """Put the file as it is now in force; give the names of the pipelines that have changed by it.

        Raises ConfigError with whatever keeps it from being put in force; then the old one stays so. Raises
        JournalDamaged.
        """
        async with self._busy:
            self._seen = self._stamp()
            try:
                return await self._reload()
            except JournalDamaged:
                raise
            except Exception as error:
                self._again = self._again or isinstance(error, JournalUnavailable)
                problems = error.problems if isinstance(error, ConfigError) else [self._problem(error)]
                with suppress(JournalUnavailable):  # who asked is told all the same
                    self._active_configuration.refuse(problems)
                raise ConfigError(problems=problems) from error

    async def refresh(self) -> bool:
        """Put in force what has changed beside the file; tell whether that is done. Raises JournalDamaged."""
        async with self._busy:
            try:
                changed = await self._change(self.config, self._catalogue)
            except JournalDamaged:
                raise
            except AuditFlowError as error:
                self._tell("the tenants' pipelines stay as they were", error)
                return not isinstance(error, JournalUnavailable)
            except Exception:  # noqa: BLE001 - whatever it is, all goes on as it was
                _log.exception("the tenants' pipelines stay as they were")
                return True
            self._told = ""
            _log.info("the tenants were loaded again; changed: %s", ", ".join(changed) or "nothing")
            if self.on_change:
                self.on_change("tenants.reloaded", outcome="success", changed=changed)
            return True

    def _tell(self, what: str, error: AuditFlowError) -> bool:
        """Log what went wrong, once for as long as it does; tell whether it is new."""
        told = f"{what}: {error.explained()}"
        if told == self._told:
            return False
        self._told = told
        _log.error("%s", told)
        return True

    def _problem(self, error: Exception) -> Problem:
        if isinstance(error, AuditFlowError):
            return Problem(str(self._file.path), 1, 1, "", str(error), error.hint)
        return Problem(str(self._file.path), 1, 1, "", f"{type(error).__name__}: {text_of(error)}")

    async def _reload(self) -> list[str]:
        text = self._file.read()
        self._again = text is None
        loaded, catalogue = await asyncio.to_thread(self._file.load, text)
        if fixed := [name for name in FIXED if getattr(loaded, name) != getattr(self.config, name)]:
            document = read(self._file.path, os.environ, text)
            raise ConfigError(problems=[document.problem((name,), *NOT_NOW, at_key=True) for name in fixed])
        self._refuse_emptied(loaded, text)
        self._active_configuration.keep(text or b"")
        try:
            changed = await self._change(loaded, catalogue)
        except BaseException:
            self._active_configuration.keep(self._text)
            raise
        self._text = text or b""
        self.config, self._catalogue = loaded, catalogue
        return changed

    def _refuse_emptied(self, loaded: Config, text: bytes | None) -> None:
        """Refuse a file without pipelines that does not say so: such as one that is half-written."""
        if loaded.pipelines or not self.config.pipelines:
            return
        document = read(self._file.path, os.environ, text)
        if not isinstance(document.data, dict) or document.data.get("pipelines") != []:
            raise ConfigError(problems=[document.problem(("pipelines",), *EMPTIED, at_key=True)])

    async def _logged(self) -> None:
        try:
            changed = await self.reload()
        except ConfigError as error:
            if not self._tell("the configuration stays as it was", error):
                return
            told: dict[str, Any] = {"outcome": "refused", "reason": str(error)}
        else:
            self._told = ""
            _log.info("the configuration was loaded again; changed: %s", ", ".join(changed) or "nothing")
            told = {"outcome": "success", "changed": changed}
        if self.on_change:
            self.on_change("configuration.reloaded", **told)

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._file.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
