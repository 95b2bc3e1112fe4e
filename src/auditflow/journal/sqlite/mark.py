"""What is known of the journal when its file is lost."""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from auditflow.storage.sqlite import sidecar


class Mark:
    """Two numbers kept beside the journal, so that what is lost with it is known.

    `head` is the next sequence number, `floor` the one below which all has been evicted. Never flushed: after
    a power failure they may be old, and then say less.
    """

    def __init__(self, path: Path) -> None:
        self._path = sidecar(path, "-mark")
        self._file = -1
        self.head, self.floor = self._read()

    def write(self, head: int, floor: int) -> None:
        """Keep the numbers; a disk that refuses does no harm."""
        self.head, self.floor = head, floor
        with suppress(OSError):
            if self._file < 0:
                self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
            numbers = b"%020d %020d" % (head, floor)
            os.pwrite(self._file, b"%s %08x\n" % (numbers, crc32(numbers)), 0)

    def close(self) -> None:
        """Release the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> tuple[int, int]:
        with suppress(OSError, ValueError):
            numbers, _, check = self._path.read_bytes().rpartition(b" ")
            if int(check, 16) == crc32(numbers):
                head, floor = numbers.split()
                return int(head), int(floor)
        return 1, 1
