"""Files that others replace while we run."""
# Tested in tests/ingest/auth/test_keys.py.

from __future__ import annotations

import time
from math import inf
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0


class Watched:
    """Tells when one of some files has changed; looks at most once a second."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._looked = -inf
        self._seen: list[tuple[int, ...]] = []

    def changed(self) -> bool:
        """Tell whether a file is another than when this was asked before; true the first time."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked, before = now, self._seen
        self._seen = [_stamp(path) for path in self._paths]
        return self._seen != before


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
