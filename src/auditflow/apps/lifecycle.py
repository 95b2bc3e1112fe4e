"""How a role process lives: what it is handed at start, when it stops, what its exit status says."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Final

SUPERVISED: Final = "AUDITFLOW_SUPERVISED"
"""Set by the supervisor for its children, whose standard input is a pipe that ends with it."""
LISTENER: Final = "AUDITFLOW_LISTENER"
"""File descriptor of the listening socket that the supervisor hands to its child."""
GO: Final = b"go\n"
"""What the supervisor writes to a role's standard input when it may begin its work."""
EXIT_DAMAGED: Final = 75
"""The data directory was found damaged: both roles have to start again, so that it is fixed."""


def keep_memory() -> None:
    """Let the C library keep freed memory for the next batch instead of giving it back to the kernel.

    A batch takes some buffers of half a megabyte, and by default glibc maps and unmaps each: the page faults are
    a fifth of the CPU of accepting a batch. Another C library is left as it is. See mallopt(3).
    """
    gc.freeze()  # what is there now stays, so that no collection need look at it again
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.values():
            mallopt(parameter, value)


def pass_over_what_lasts() -> None:
    """Let later collections leave out what there is now, but what is garbage already.

    Thousands of pipelines are hundreds of thousands of objects: to look at them again and again took a third of the
    CPU of delivery.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


_MALLOC: Final = {
    "M_MMAP_THRESHOLD": (-3, 8 * 2**20),
    "M_TRIM_THRESHOLD": (-1, 16 * 2**20),
    "M_TOP_PAD": (-2, 4 * 2**20),
    "M_ARENA_MAX": (-8, 1),
}
"""The parameters' numbers in malloc.h, and bytes; one arena, because the threads take turns anyway."""


def leave_nothing_behind() -> None:
    """Let this process and its children dump no memory when they crash: events and secrets are in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def may_begin() -> bool:
    """Wait for the supervisor's word, if there is one; False when it has died instead."""
    return not os.environ.get(SUPERVISED) or os.read(sys.stdin.fileno(), len(GO)) == GO


def stop_requested() -> asyncio.Event:
    """Give an event that is set on SIGTERM, SIGINT, or when the supervisor has died."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if os.environ.get(SUPERVISED):
        loop.add_reader(sys.stdin.fileno(), _supervisor_gone, loop, stopping)
    return stopping


def reload_requested() -> asyncio.Event:
    """Give an event that is set on SIGHUP."""
    wanted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
    return wanted


def _supervisor_gone(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    loop.remove_reader(sys.stdin.fileno())
    stopping.set()
