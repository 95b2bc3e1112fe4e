"""Writes events to the log of the AuditFlow process, one line each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import BeforeValidator

from auditflow.event.model import decode, encode
from auditflow.sinks._base import DELIVERED, Outcome, Properties, Sink, Verdict

LOGGER: Final = "auditflow.sinks.logging_sink"
"""Name of the logger that gets the events."""

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
        """Log each event. What is not JSON is rejected in the format `text`."""
        return [self._log(event) for event in events]

    def _log(self, event: bytes) -> Outcome:
        level = logging.getLevelNamesMapping()[self.properties.log_level]
        try:
            line = event.decode() if self.properties.format == "json" else as_text(event)
        except ValueError as error:
            return Outcome(Verdict.REJECTED, "NOT_JSON", f"The event is not a JSON object in UTF-8: {error}")
        _log.log(level, "%s", line)
        return DELIVERED


def as_text(event: bytes) -> str:
    """Write an event's fields as `name=value` pairs, quoted as JSON where they hold more than plain characters."""
    fields = msgspec.convert(decode(event), dict[str, Any])
    return " ".join(f"{_plain(name)}={_plain(value)}" for name, value in fields.items())


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' ="'):
        return value
    return encode(value).decode()
