"""Writes events to the log of the AuditFlow process, one line each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import BeforeValidator

from auditflow.event.model import decode, encode
from auditflow.sinks._base import DELIVERED, Outcome, Properties, Sink, Verdict
from auditflow.telemetry.line_writer import written

LOGGER: Final = "auditflow.sinks.logging_sink"
"""Name of the logger that gets the events."""

STALLED_SECONDS: Final = 5.0
"""How long lines may take to be written."""
AT_ONCE: Final = 4 * 2**20
"""Bytes of events that are logged before they have to be written."""
_STALLED: Final = Outcome(
    Verdict.RETRY,
    "LOG_STALLED",
    "Nobody reads the log: lines have been waiting for seconds.",
    "See what reads AuditFlow's standard error, and whether it still runs.",
)
_MAYBE: Final = replace(_STALLED, ambiguous=True)

_log = logging.getLogger(LOGGER)

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda level: str(level).upper()),
]


class LoggingProperties(Properties):
    """How the lines look."""

    log_level: LogLevel = "INFO"
    """Level of the lines."""
    format: Literal["json", "text"] = "json"
    """The event as it is, or as `name=value` pairs."""


class LoggingSink(Sink[LoggingProperties]):
    """One record per event for the logger ``auditflow.sinks.logging_sink``; handlers decide where it goes."""

    Properties: ClassVar[type[LoggingProperties]] = LoggingProperties

    @property
    def destination(self) -> str:
        """Name the logger."""
        return f"log:{LOGGER}"

    async def open(self) -> None:
        """Let the sink's own level through: it says how events are marked, not which are kept."""
        level = logging.getLevelNamesMapping()[self.properties.log_level]
        if not _log.isEnabledFor(level):
            _log.setLevel(level)

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Log each event, some at a time. What is not JSON is rejected in the format `text`.

        Where nobody reads the log, the events wait for that, as with any other destination.
        """
        outcomes: list[Outcome] = []
        for part in _parts(events):
            if not await written(STALLED_SECONDS):
                return outcomes + [_STALLED] * (len(events) - len(outcomes))
            outcomes += [self._log(event) for event in part]
        if events and not await written(STALLED_SECONDS):
            last = len(part)
            outcomes[-last:] = [_MAYBE if each is DELIVERED else each for each in outcomes[-last:]]
        return outcomes

    def _log(self, event: bytes) -> Outcome:
        level = logging.getLevelNamesMapping()[self.properties.log_level]
        try:
            line = event.decode() if self.properties.format == "json" else as_text(event)
        except ValueError as error:
            return Outcome(Verdict.REJECTED, "NOT_JSON", f"The event is not a JSON object in UTF-8: {error}")
        _log.log(level, "%s", line)
        return DELIVERED


def _parts(events: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut events into runs of no more than waits to be written without harm."""
    start = size = 0
    for index, event in enumerate(events):
        if index > start and size + len(event) > AT_ONCE:
            yield events[start:index]
            start, size = index, 0
        size += len(event)
    if events:
        yield events[start:]


def as_text(event: bytes) -> str:
    """Write an event's fields as `name=value` pairs, quoted as JSON where they hold more than plain characters."""
    fields = msgspec.convert(decode(event), dict[str, Any])
    return " ".join(f"{_plain(name)}={_plain(value)}" for name, value in fields.items())


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' ="'):
        return value
    return encode(value).decode()
