"""Follows what arrives in the log groups of pipelines."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge
from typing import Any, Final

import typer

from auditflow.cli._shared.output import safe
from auditflow.cli.aws.logs import Source, is_missing
from auditflow.errors import LogsUnreadable

PAUSE: Final = 2.0
"""Seconds between two looks."""
LOOK_BACK: Final = 120_000
"""Milliseconds that each look goes back behind the newest event: delivery may be late, a search finds late."""

Found = dict[str, Any]
"""An event as FilterLogEvents gives it, with its `region` and `logGroup`."""


@dataclass(slots=True)
class Group:
    """A log group, and how far it has been read."""

    source: Source
    name: str
    start: int
    """Unix milliseconds."""
    seen: dict[str, int] = field(default_factory=dict)
    """The id of each record from `start` on that was given → its time in Unix milliseconds."""
    missing: bool = False

    def new(self, pattern: str) -> Iterator[Found]:
        """Give what has arrived since the last time, oldest first. Raises LogsUnreadable."""
        now = int(time.time() * 1000)
        for record in self._records(pattern):
            if record["eventId"] not in self.seen:
                self.seen[record["eventId"]] = record["timestamp"]
                yield {"region": self.source.session.region, "logGroup": self.name, **record}
        # an event filed under the future must not hide those of the present
        newest = min(now, max(self.seen.values(), default=0))
        self.start = max(self.start, newest - LOOK_BACK)
        self.seen = {each: at for each, at in self.seen.items() if at >= self.start}

    def _records(self, pattern: str) -> Iterator[Found]:
        """Read page after page: one without events may be followed by one with them."""
        asked: dict[str, Any] = {"logGroupName": self.name, "startTime": self.start}
        if pattern:
            asked["filterPattern"] = pattern
        while True:
            try:
                page = self.source.call(lambda client: client.filter_log_events(**asked), self.name)
            except LogsUnreadable as error:
                if not is_missing(error):
                    raise
                self._say_missing(error)
                return
            self.missing = False
            yield from page["events"]
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]

    def _say_missing(self, error: LogsUnreadable) -> None:
        if not self.missing:
            typer.echo(f"auditflow: {error}\nhint: {error.hint}", err=True)
        self.missing = True


def pattern_of(text: str) -> str:
    """Write the filter pattern that finds a text; what is a JSON pattern already stays."""
    if not text or text.startswith("{"):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def tail(sources: list[Source], since: float, pattern: str, *, follow: bool) -> Iterator[Found]:
    """Give events from `since` (Unix seconds) on, oldest first, then those that arrive. Raises LogsUnreadable."""
    groups: dict[tuple[int, str], Group] = {}
    while True:
        for number, source in enumerate(sources):
            for name in source.groups():
                groups.setdefault((number, name), Group(source, name, int(since * 1000)))
        yield from merge(
            *(group.new(pattern) for group in groups.values()), key=lambda each: each["timestamp"]
        )
        if not follow:
            return
        time.sleep(PAUSE)


def as_text(found: Found) -> str:
    """Write an event for people, on one line."""
    at = datetime.fromtimestamp(found["timestamp"] / 1000, UTC)
    written = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return safe(f"{written} {found['logGroup']} {found['logStreamName']} {found['message']}")


def as_json(found: Found) -> str:
    """Write an event for programs, on one line."""
    names = ("region", "logGroup", "logStreamName", "eventId", "timestamp", "ingestionTime", "message")
    return json.dumps({name: found.get(name) for name in names})
