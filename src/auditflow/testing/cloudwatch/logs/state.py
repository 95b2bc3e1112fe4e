"""What the server holds: per account and region, groups of streams of records."""
# Tested in tests/testing/cloudwatch/logs/test_groups.py.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auditflow.testing.cloudwatch.protocol import ServiceError, invalid

Given = dict[str, Any]
"""The decoded JSON of a request or an answer."""

_PAGE = 50
"""Groups or streams in one answer of Describe, unless the request says fewer."""


class Record(NamedTuple):
    """One stored event. Records sort by timestamp, then by arrival."""

    timestamp: int
    """Unix time, milliseconds, as the client gave it."""
    ordinal: int
    """Place in the order of arrival within the region, from 1."""
    ingestion_time: int
    """Unix time, milliseconds."""
    message: str
    stream: str

    @property
    def event_id(self) -> str:
        """Name the event; ids sort as the records do."""
        return f"{self.timestamp:020d}{self.ordinal:036d}"


@dataclass(slots=True)
class Stream:
    """A log stream."""

    name: str
    arn: str
    created: int
    last_ingestion: int | None = None
    _records: list[Record] = field(default_factory=list)
    _sorted: bool = True

    def extend(self, records: list[Record]) -> None:
        """Add records, themselves in order."""
        if records:
            self._sorted = self._sorted and (not self._records or records[0] > self._records[-1])
            self._records += records
            self.last_ingestion = records[-1].ingestion_time

    def records(self) -> list[Record]:
        """Give all records in order."""
        if not self._sorted:
            self._records.sort()
            self._sorted = True
        return self._records


@dataclass(slots=True)
class Group:
    """A log group."""

    name: str
    arn: str
    """Without the trailing `:*`."""
    created: int
    log_class: str = "STANDARD"
    kms_key: str = ""
    retention: int | None = None
    """Days."""
    protected: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    stored_bytes: int = 0


@dataclass(slots=True)
class Region:
    """The log groups of one account in one region."""

    account: str
    name: str
    clock: Callable[[], float]
    """Unix time, seconds."""
    groups: dict[str, Group] = field(default_factory=dict)
    queries: dict[str, Any] = field(default_factory=dict)
    ordinal: int = 0

    def now(self) -> int:
        """Give the Unix time in milliseconds."""
        return int(self.clock() * 1000)

    def arn(self, resource: str) -> str:
        """Name a resource of this account and region."""
        return f"arn:aws:logs:{self.name}:{self.account}:{resource}"

    def group(self, name: str) -> Group:
        """Find a group by its name."""
        try:
            return self.groups[name]
        except KeyError:
            raise _missing("log group") from None

    def stream(self, group: str, name: str) -> Stream:
        """Find a stream by its name and its group's."""
        try:
            return self.group(group).streams[name]
        except KeyError:
            raise _missing("log stream") from None

    def identified(self, identifier: str) -> Group:
        """Find a group by its name or ARN."""
        if not identifier.startswith("arn:"):
            return self.group(identifier)
        prefix = self.arn("log-group:")
        if not identifier.startswith(prefix):
            raise _missing("log group")
        return self.group(identifier.removeprefix(prefix).removesuffix(":*"))

    def addressed(self, given: dict[str, Any]) -> Group:
        """Find the group of a request that takes either its name or its identifier."""
        if ("logGroupName" in given) == ("logGroupIdentifier" in given):
            raise invalid("Exactly one of logGroupName and logGroupIdentifier must be specified")
        return self.identified(given.get("logGroupName") or given["logGroupIdentifier"])


def _missing(kind: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The specified {kind} does not exist.")


def page(member: str, found: list[Given], given: Given) -> Given:
    """Cut one page out of a sorted listing, as the request's nextToken and limit say."""
    token = given.get("nextToken", "0")
    if not token.isdecimal() or int(token) > len(found):
        raise invalid("The specified nextToken is invalid.")
    start = int(token)
    end = start + given.get("limit", _PAGE)
    answer: Given = {member: found[start:end]}
    if end < len(found):
        answer["nextToken"] = str(end)
    return answer
