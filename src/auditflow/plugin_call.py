"""Calls code that is not ours: plugins may hang, raise anything, and say anything."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from auditflow.masking import masked

R_ = TypeVar("R_")

LONGEST_TEXT: Final = 2_000
"""Characters kept of what an exception says."""

_user_info = re.compile(r"(?<=://)[^\s\"'<>]*@").sub
"""Up to the last @: a password may hold what should have been escaped."""


async def in_own_thread(function: Callable[..., R_], *arguments: Any) -> R_:
    """Call a function in a thread of its own, not of a pool.

    A call that never returns keeps neither another one waiting nor the process from ending. Raises what the
    function raises; what is no Exception, such as SystemExit, comes as RuntimeError.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R_] = loop.create_future()

    def call() -> None:
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - other people's code may even call sys.exit
            _tell(loop, future, future.set_exception, _ordinary(error))
        else:
            _tell(loop, future, future.set_result, result)

    threading.Thread(target=call, name=getattr(function, "__name__", "plugin"), daemon=True).start()
    return await future


def is_never(error: BaseException) -> bool:
    """Tell whether an exception says that this event will never be taken: ValueError does.

    Not one that speaks of JSON: it is about what a destination has answered.
    """
    return isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)


def text_of(error: BaseException) -> str:
    """Give what an exception says, as text that can be stored and sent; asterisks for secrets."""
    try:
        said = str(error)[: 4 * LONGEST_TEXT]  # more would only take time
        return printable(masked(without_user_info(said)))
    except Exception:  # noqa: BLE001 - even this may raise
        return "it cannot be printed"


def without_user_info(text: str) -> str:
    """Give a text with asterisks for user and password in its URLs."""
    return _user_info("***@", text)


def printable(text: str) -> str:
    """Cut a text to a bounded length and replace what UTF-8 cannot hold."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def _ordinary(error: BaseException) -> Exception:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):  # which a future refuses
        return error
    return RuntimeError(f"{type(error).__name__}: {text_of(error)}")


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], tell: Callable[..., None], what: object
) -> None:
    with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
        loop.call_soon_threadsafe(lambda: None if future.done() else tell(what))
