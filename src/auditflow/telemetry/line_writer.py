"""Writes log lines in a thread of its own, so that a pipe nobody reads holds up nothing but the log."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

MOST_BYTES: Final = 32 * 2**20
"""Of lines that wait to be written. Further ones are dropped, and counted."""
AT_ONCE: Final = 64 * 2**10
FULL_PAUSE: Final = 0.05
"""Seconds until a stream that does not block is tried again."""
EXIT_SECONDS: Final = 2.0
"""How long the end of the process waits for the last lines."""


class LineWriter:
    """Lines on their way to a stream, bounded. Methods may be called from any thread."""

    def __init__(self, stream: TextIO, tell: Callable[[int], str] = "{} lines were dropped\n".format) -> None:
        """Write to a stream; `tell` writes the line that says how many were dropped, once lines get through again."""
        self._tell = tell
        self._told = 0
        self.dropped = 0
        """Lines that were dropped so far, because too many waited."""
        self._stream = stream
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._taken = self._written = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Take a line, its end included; drop it when too many wait."""
        data = line.encode(errors="backslashreplace")
        with self._changed:
            if self._size + len(data) > MOST_BYTES:
                self.dropped += 1
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.wait, EXIT_SECONDS)
            self._lines.append(data)
            self._size += len(data)
            self._taken += 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until what was taken so far is written; tell whether it is."""
        with self._changed:
            taken = self._taken
            return self._changed.wait_for(lambda: self._written >= taken, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                some = [self._lines.popleft()]
                size = len(some[0])
                while self._lines and size + len(self._lines[0]) <= AT_ONCE:
                    some.append(self._lines.popleft())
                    size += len(some[-1])
            self._put(b"".join(some))
            if missing := self.dropped - self._told:
                self._told += missing
                self._put(self._tell(missing).encode())
            with self._changed:
                self._size -= size
                self._written += len(some)
                self._changed.notify_all()

    def _put(self, data: bytes) -> None:
        try:
            file = self._stream.fileno()
        except (OSError, ValueError):  # an object that is no file, or is closed
            with suppress(OSError, ValueError):
                self._stream.write(data.decode())
            return
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(file, left) :]
            except BlockingIOError:
                time.sleep(FULL_PAUSE)
            except OSError:  # nobody will ever read it
                return


class LineHandler(logging.Handler):
    """Gives records, as lines, to a writer."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.writer = LineWriter(stream, self._missing)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record. Never blocks."""
        try:
            self.writer.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)

    def _missing(self, count: int) -> str:
        message = f"{count} log lines are missing: standard error was not read for too long"
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None)) + "\n"


async def written(seconds: float) -> bool:
    """Wait until what was logged so far is written; tell whether it is, and nothing of it was dropped meanwhile."""
    writers = [each.writer for each in logging.getLogger().handlers if isinstance(each, LineHandler)]
    dropped = [writer.dropped for writer in writers]
    for writer in writers:
        if not writer.wait(0) and not await asyncio.to_thread(writer.wait, seconds):
            return False
    return dropped == [writer.dropped for writer in writers]
