"""When pipelines were out of the configuration, as far as that can be told from outside."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MARGIN = 15.0
"""Seconds after a pipeline is back in the file and seen to run in which another process may still do without it."""


@dataclass
class Absences:
    """What is acknowledged while a pipeline is away is the pipeline's only if it had something to deliver.

    Whether it had is decided in another process, so such an event may be delivered and need not be. What was
    acknowledged before it left must be delivered.
    """

    over: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Pipeline → when it left and when it was certainly back, in seconds of the monotonic clock."""
    _left: dict[str, float] = field(default_factory=dict)
    _back: dict[str, float] = field(default_factory=dict)

    def begin(self, pipeline: str) -> None:
        """Note that the pipeline is about to leave the file."""
        self._back.pop(pipeline, None)
        self._left.setdefault(pipeline, time.monotonic())

    def end(self, pipeline: str) -> None:
        """Note that the pipeline is back in the file."""
        self._back[pipeline] = time.monotonic()

    def seen(self, active: set[str]) -> None:
        """Note which pipelines status shows in force just now."""
        now = time.monotonic()
        for pipeline, since in list(self._back.items()):
            if pipeline in active and now - since > MARGIN:
                del self._back[pipeline]
                self.over.setdefault(pipeline, []).append((self._left.pop(pipeline), now))

    @property
    def settled(self) -> bool:
        """Whether every pipeline is back."""
        return not self._left

    def excuses(self, pipeline: str, began: float, ended: float) -> bool:
        """Tell whether an event that was published then need not be in the pipeline."""
        return any(began <= back and left <= ended for left, back in self.over.get(pipeline, ()))
