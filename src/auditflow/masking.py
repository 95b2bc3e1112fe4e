"""Keeps known secrets out of what is said: logs, outcomes, answers.

Whoever comes to hold a secret hides it here; whoever says something that others have written masks it first. Libraries,
services and plugins quote what they were given, in encodings of their own.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

SHORTEST: Final = 8
"""Shorter ones are not looked for: they occur in ordinary words."""
KEPT: Final = 10_000
"""Secrets that are remembered; the oldest are forgotten first."""
VARIABLES: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AUDITFLOW_TOKEN",
)
"""Environment variables whose values are secret whatever the configuration says."""

_MASK: Final = "***"
_SEGMENT: Final = 20
"""Characters from which a segment of a URL's path is taken for a token."""

_hidden: OrderedDict[str, tuple[str, ...]] = OrderedDict()
"""Secret → the ways in which it may be written."""
_index: dict[str, tuple[str, ...]] = {}
"""What a writing begins with → all that begin so, the longest first: one pass over a text finds any number of secrets."""
_lock = threading.Lock()


def hide(values: Iterable[str]) -> None:
    """Remember secrets."""
    with _lock:
        for value in values:
            if len(value.strip()) >= SHORTEST and value not in _hidden and not _is_origin(value):
                _hidden[value] = _writings(value)
                for writing in _hidden[value]:
                    start = writing[:SHORTEST]
                    _index[start] = tuple(sorted((*_index.get(start, ()), writing), key=len, reverse=True))
        while len(_hidden) > KEPT:
            _, writings = _hidden.popitem(last=False)
            _forget(writings)


def _forget(writings: Iterable[str]) -> None:
    for writing in writings:
        left = list(_index.pop(writing[:SHORTEST]))
        left.remove(writing)  # once: another secret may have a part written alike
        if left:
            _index[writing[:SHORTEST]] = tuple(left)


def hide_within(settings: Any) -> None:
    """Remember all that is a `SecretStr` in settings."""
    hide(_secrets(settings))


def masked(text: str) -> str:
    """Give a text with asterisks where it repeats a secret that was hidden, however it is written."""
    pieces: list[str] = []
    done = 0
    for at in range(len(text) - SHORTEST + 1 if _index else 0):
        if at >= done and (candidates := _index.get(text[at : at + SHORTEST])):
            found = next((each for each in candidates if text.startswith(each, at)), "")
            if found:
                pieces += text[done:at], _MASK
                done = at + len(found)
    return "".join((*pieces, text[done:])) if pieces else text


def _secrets(value: Any) -> Iterator[str]:
    if hasattr(value, "get_secret_value"):  # not by its class: to import pydantic takes long
        yield value.get_secret_value()
    elif hasattr(type(value), "model_fields"):
        yield from _secrets(vars(value))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _secrets(each)


def _is_origin(value: str) -> bool:
    """Tell whether this is a URL that names a host alone, which people are told where it cannot be reached."""
    try:
        url = urlsplit(value.strip())
    except ValueError:
        return False
    return (
        bool(url.scheme and url.netloc) and "@" not in url.netloc and not (url.path.strip("/") or url.query)
    )


def _writings(value: str) -> tuple[str, ...]:
    texts = {part for part in (value, value.strip(), *_parts(value.strip())) if len(part) >= SHORTEST}
    found = {writing for text in texts for writing in _encodings(text)}
    return tuple(found)


def _parts(value: str) -> Iterator[str]:
    """Give what is secret by itself: the credential behind `Bearer`, a token or password in a URL."""
    yield from value.split()[1:]
    try:
        url = urlsplit(value)
        if url.scheme and url.netloc:
            yield from (each for _, each in parse_qsl(url.query))
            yield from (each for each in url.path.split("/") if len(each) >= _SEGMENT)
            yield url.password or ""
    except ValueError:
        return


def _encodings(text: str) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogateescape")
    yield text
    yield from (repr(text)[1:-1], ascii(text)[1:-1], repr(raw)[2:-1], html.escape(text))
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    for escaped in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield from (escaped, re.sub("%..", lambda found: found[0].lower(), escaped))
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        yield encoded.decode().rstrip("=")
    yield from (raw.hex(), raw.hex().upper())
