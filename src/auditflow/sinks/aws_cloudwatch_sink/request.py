"""A PutLogEvents request's body, and what its answer says of each event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from isal import igzip


class NotUtf8Error(ValueError):
    """A message is no UTF-8 text. Has a name of its own, since an answer can hold such bytes as well."""


class _LogEvent(msgspec.Struct, gc=False):
    timestamp: int
    message: str


class _PutLogEvents(msgspec.Struct, gc=False, rename="camel"):
    log_group_name: str
    log_stream_name: str
    log_events: list[_LogEvent]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def body(log_group: str, log_stream: str, times: Sequence[int], messages: Sequence[bytes]) -> bytes:
    """Write the body of a request: chronological `times` in Unix milliseconds, `messages` as they are kept.

    One call into C; botocore's own serialiser takes twenty times as long. NotUtf8Error when a message is no
    text.
    """
    try:
        events = list(map(_LogEvent, times, map(bytes.decode, messages)))
    except UnicodeDecodeError as error:
        raise NotUtf8Error(str(error)) from None
    return _encode(_PutLogEvents(log_group, log_stream, events))


def compress(body: bytes) -> bytes:
    """Compress a body as gzip, fast rather than small (level 1): about seven times smaller for the sample events."""
    return igzip.compress(body, compresslevel=1, mtime=0)


def check(answer: bytes) -> None:
    """Raise msgspec.DecodeError unless the answer is a JSON object.

    botocore takes anything that comes with status 200, also the page of a proxy, for an answer of the service.
    """
    _decode(answer)


def refusals(answer: Mapping[str, Mapping[str, int]], count: int) -> dict[int, str]:
    """Give the index → code of each event of a request of `count` that the service did not take.

    In `rejectedLogEventsInfo` the end indexes are exclusive and the start index is inclusive (PutLogEvents API
    reference). What is too old for the service is also beyond any retention: the stronger reason counts.
    """
    info = answer.get("rejectedLogEventsInfo") or {}
    codes: dict[int, str] = {}
    codes.update(dict.fromkeys(range(min(count, info.get("expiredLogEventEndIndex", 0))), "EXPIRED"))
    codes.update(dict.fromkeys(range(min(count, info.get("tooOldLogEventEndIndex", 0))), "TOO_OLD"))
    codes.update(dict.fromkeys(range(max(0, info.get("tooNewLogEventStartIndex", count)), count), "TOO_NEW"))
    return codes
