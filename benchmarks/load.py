"""The load generator: sends requests over a number of connections as fast as they are answered.

It shares the machine with what it measures, so it is as cheap as can be: requests are made beforehand, answers are
looked at no further than their status and their end, and it runs in a process of its own, on uvloop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing.connection import Connection
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

LOOK_SECONDS = 0.1
"""So often whoever waits for the load looks at what it measures."""
_fork = multiprocessing.get_context("fork")  # requests that are made already need not be handed over
_is_length = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


class Sent(NamedTuple):
    """How a load went."""

    started: float
    """By `time.perf_counter`, which all processes share."""
    ended: float
    waits: list[float]
    """Seconds until each request was answered."""
    cpu: float
    """Seconds of CPU that sending took."""


class _Sender(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, waiting: Iterator[bytes], waits: list[float], done: asyncio.Future[None]) -> None:
        self._waiting = waiting
        self._waits = waits
        self._done = done
        self._answer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        answer = self._answer + data if self._answer else data
        head = answer.find(_END)
        found = _is_length.search(answer, 0, head + 2) if head >= 0 else None
        length = int(found[1]) if found else 0
        if head < 0 or len(answer) < head + len(_END) + length:
            self._answer = answer
            return
        self._answer = b""
        self._waits.append(time.perf_counter() - self._began)
        if answer.startswith(b"HTTP/1.1 200"):
            self._next()
        else:
            self._end(RuntimeError(answer.decode(errors="replace")))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the connection was closed"))

    def _next(self) -> None:
        request = next(self._waiting, None)
        if request is None:
            self._end(None)
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error) if error else self._done.set_result(None)
        self._transport.close()


def send(url: str, made: Iterable[bytes], connections: int) -> Sent:
    """Send all requests from this process. RuntimeError when one is not answered with 200."""
    waits: list[float] = []
    before, started = time.process_time(), time.perf_counter()
    uvloop.run(_send(url, iter(made), connections, waits))
    return Sent(started, time.perf_counter(), waits, time.process_time() - before)


async def _send(url: str, waiting: Iterator[bytes], connections: int, waits: list[float]) -> None:
    address, loop = urlsplit(url), asyncio.get_running_loop()
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    for end in ends:
        await loop.create_connection(
            lambda end=end: _Sender(waiting, waits, end), address.hostname, address.port
        )
    await asyncio.gather(*ends)


def apart(url: str, made: Iterable[bytes], connections: int, look: Callable[[], object]) -> Sent:
    """Send all requests from a process of its own; meanwhile call `look` ten times a second."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_report, args=(sender, url, made, connections))
    process.start()
    sender.close()
    while not receiver.poll(LOOK_SECONDS):
        look()
    sent = receiver.recv()
    process.join()
    if isinstance(sent, Exception):
        raise sent
    return Sent(*sent)


def _report(sender: Connection, url: str, made: Iterable[bytes], connections: int) -> None:
    try:
        sender.send(tuple(send(url, made, connections)))
    except Exception as error:  # noqa: BLE001 - whoever waits is to be told
        sender.send(RuntimeError(str(error)))


@contextmanager
def steady(url: str, made: Iterator[bytes], connections: int) -> Iterator[None]:
    """Publish without end, from a process of its own, as fast as requests are answered."""
    ended = _fork.Event()
    until = takewhile(lambda _: not ended.is_set(), made)
    process = _fork.Process(target=send, args=(url, until, connections))
    process.start()
    try:
        yield
    finally:
        ended.set()
        process.join()
