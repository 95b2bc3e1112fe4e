"""The clock by which things grow old: what is deleted, forgotten or given up for its age is judged by it.

A wall clock that is suddenly far ahead is not believed until it has been so for a while: a wrong time for two seconds
must not delete what was to be kept for months.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

SLACK_SECONDS: Final = 60.0
"""How far the wall clock may get ahead of the monotonic one between two looks."""
BELIEVED_SECONDS: Final = 900.0
"""How long a wall clock has to be far ahead until it is believed."""

_log = logging.getLogger(__name__)


class AgingClock:
    """Gives Unix time in seconds, never far ahead of what was known before. Use from any thread."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._lock = Lock()
        self._known = wall()
        self._at = monotonic()
        self._ahead_since: float | None = None

    def start_at(self, known: float) -> None:
        """Go on from a time that is known from before the start, such as that of the newest event."""
        with self._lock:
            self._known, self._at, self._ahead_since = known, self._monotonic(), None

    def __call__(self) -> float:
        """Give the time."""
        with self._lock:
            wall, now = self._wall(), self._monotonic()
            expected = self._known + now - self._at
            if wall <= expected + SLACK_SECONDS:
                self._ahead_since = None
            elif self._ahead_since is None:
                self._ahead_since = now
                _log.warning(
                    "the clock is %.0f s ahead of where it should be: until it has been so for %.0f minutes, nothing is deleted, "
                    "forgotten or given up for its age",
                    wall - expected, BELIEVED_SECONDS / 60,
                )  # fmt: skip
                return expected
            elif now - self._ahead_since < BELIEVED_SECONDS:
                return expected
            else:
                _log.warning("the clock is believed now: what is too old by it goes")
                self._ahead_since = None
            self._known, self._at = wall, now
            return wall


now: Final = AgingClock()
"""That of this process."""
