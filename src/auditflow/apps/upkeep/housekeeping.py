"""Keeps what piles up within its limits: receipts, and dead letters with a warning long before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from auditflow import aging
from auditflow.config import Config
from auditflow.errors import JournalUnavailable
from auditflow.ledger import Ledger, Selection
from auditflow.sinks._base import Outcome, Verdict

LOOK_SECONDS: Final = 2.0
WARN_AT: Final = 0.8
"""The share of a limit from which status warns."""
DEAD_LETTERS_FULL: Final = "DEAD_LETTERS_FULL"

_log = logging.getLogger(__name__)

Tell = Callable[[str, Outcome | None, str], None]
"""Is told of a pipeline what keeps it from taking events, if anything does, and a warning, if there is one."""


class Housekeeping:
    """Looks again and again. Limits come from `config()`, as it is in force at that moment."""

    def __init__(self, ledger: Ledger, config: Callable[[], Config], tell: Tell) -> None:
        self._ledger = ledger
        self._config = config
        self._tell = tell
        self.on_purge: Callable[..., None] | None = None
        """Called with the `count` of events whose dead letters were deleted, and the `reason`."""
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Work until cancelled. Raises JournalDamaged."""
        while True:
            config = self._config()
            try:
                extents = await asyncio.to_thread(self._tidy, config)
            except JournalUnavailable as error:
                _log.error("old receipts and dead letters stay: %s", error.explained())
            else:
                for pipeline in extents.keys() | self._told.keys():
                    self._judge(pipeline, *extents.get(pipeline, (0, 0)), config)
            await asyncio.sleep(LOOK_SECONDS)

    def _tidy(self, config: Config) -> dict[str, tuple[int, int]]:
        """Drop what is too old; give the extents of the dead letters that stay."""
        now = aging.now()
        self._ledger.forget_receipts(int((now - config.journal.retention) * 1000))
        if (age := config.dead_letters.max_age) is not None:
            extents = self._ledger.dead_letter_extents()
            before = int((now - age) * 1000)
            old = any(earliest < before for _, earliest in extents.values())
            if old and (count := self._ledger.purge(Selection(until=before))):
                _log.warning(
                    "the dead letters of %s events were older than dead-letters.max-age and are deleted",
                    count,
                )
                if self.on_purge:
                    self.on_purge(count=count, reason="older than dead-letters.max-age")
        return self._ledger.dead_letter_extents()

    def _judge(self, pipeline: str, letters: int, earliest: int, config: Config) -> None:
        limits = config.dead_letters
        full = None
        if letters >= limits.max_count:
            reason = f"it has {letters:,} dead letters, as many as dead-letters.max-count allows"
            hint = f"auditflow dead-letters list --pipeline {pipeline}; then replay or purge them, or raise the limit"
            full = Outcome(Verdict.BLOCKED, DEAD_LETTERS_FULL, reason, hint)
        warning = "; ".join(_warnings(letters, earliest, limits.max_count, limits.max_age))
        if warning and warning != self._told.get(pipeline):
            _log.warning("%s: %s", pipeline, warning)
        self._told[pipeline] = warning
        if not letters:
            del self._told[pipeline]
        self._tell(pipeline, full, warning)


def _warnings(letters: int, earliest: int, max_count: int, max_age: float | None) -> Iterable[str]:
    if letters >= WARN_AT * max_count:
        share = min(100, 100 * letters // max_count // 5 * 5)  # in steps, lest each letter be a new warning
        yield f"its dead letters are {share} % of dead-letters.max-count, {max_count:,}"
    if max_age is not None and letters:
        left = earliest / 1000 + max_age - time.time()
        if left <= (1 - WARN_AT) * max_age:
            day = time.strftime("%Y-%m-%d", time.gmtime(earliest / 1000 + max_age))
            yield f"its oldest dead letters reach dead-letters.max-age on {day} and are deleted then"
