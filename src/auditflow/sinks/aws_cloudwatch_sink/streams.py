"""Making the log groups and streams that puts did not find."""

from __future__ import annotations

import asyncio
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

from auditflow.sinks._base import Outcome, Verdict
from auditflow.sinks.aws_cloudwatch_sink.client import LogsClient
from auditflow.sinks.aws_cloudwatch_sink.errors import MISSING, Place, classify, error_code
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

INTERVAL: Final = 1.0
"""Seconds between two attempts to create one group or stream."""
KEPT: Final = 10_000
"""Log groups and streams whose state is kept; after that, the least recently used are forgotten."""


class _Making(ABC):
    """Something that is made by one attempt at a time, however many ask, and by few of them."""

    def __init__(self) -> None:
        self.made = 0
        """How often it has been made; read it before a put and give it to `make`."""
        self._lock = asyncio.Lock()
        self._attempted = -INTERVAL
        self._failure: Outcome | None = None

    @property
    def under_way(self) -> bool:
        """Whether it is being made now."""
        return self._lock.locked()

    async def make(self, made: int) -> Outcome | None:
        """Make it; None when the put may go again.

        `made` is what the attribute was before that put: when it has moved on, another request was faster.
        """
        async with self._lock:
            if self.made != made:
                return None
            wait = self._attempted + INTERVAL - time.monotonic()
            if wait > 0:
                return self._failure or self._not_there_yet(wait)
            self._failure = await self._attempt()
            self._attempted = time.monotonic()
            self.made += self._failure is None
            return self._failure

    @abstractmethod
    async def _attempt(self) -> Outcome | None:
        """Make it once; give what went wrong."""

    @abstractmethod
    def _not_there_yet(self, wait: float) -> Outcome:
        """Say that it was made, and is still not found."""


class LogGroup(_Making):
    """A log group, made with its settings."""

    def __init__(self, properties: CloudWatchProperties, client: LogsClient, name: str) -> None:
        super().__init__()
        self.incomplete = False
        """It was made, but has not the retention it shall have before its first event."""
        self._properties = properties
        self._client = client
        self._name = name

    async def _attempt(self) -> Outcome | None:
        try:
            await self._client.run(self._create)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an outcome
            if error_code(error) == MISSING:  # somebody has deleted it again
                self.incomplete = False
                return self._not_there_yet(INTERVAL)
            return classify(error, self._client.place(self._name, self._properties.log_stream))
        return None

    def _create(self, client: Any) -> None:
        ours = self._properties
        settings = {"kmsKeyId": ours.kms_key_id, "tags": ours.tags, "logGroupClass": ours.log_group_class}
        given = {name: value for name, value in settings.items() if value}
        ours_to_settle = self.incomplete or _create(client.create_log_group, logGroupName=self._name, **given)
        if ours_to_settle and ours.retention_in_days:
            self.incomplete = True
            client.put_retention_policy(logGroupName=self._name, retentionInDays=ours.retention_in_days)
            self.incomplete = False

    def _not_there_yet(self, wait: float) -> Outcome:
        reason = f"Log group {self._name} was made a moment ago and is not there yet."
        return Outcome(Verdict.RETRY, MISSING, reason, retry_after=wait)


class LogStream(_Making):
    """A log stream, and the group it is in."""

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        properties: CloudWatchProperties,
        client: LogsClient,
        creating: asyncio.Lock,
        group: LogGroup,
        log_group: str,
        log_stream: str,
    ) -> None:
        super().__init__()
        self._properties = properties
        self._client = client
        self._creating = creating
        self._group = group
        self._names = (log_group, log_stream)

    @property
    def all_made(self) -> tuple[int, int]:
        """How often group and stream have been made; read it before a put and give it to `make_missing`."""
        return self._group.made, self.made

    async def make_missing(self, missing: Exception, made: tuple[int, int]) -> Outcome | None:
        """Make what `missing` (a ResourceNotFoundException) misses; None when the put may go again."""
        of_group, of_stream = made
        ours = self._properties
        group_missing = "log group" in str(missing)
        # a group that is being made may be there already, and not have its settings yet
        if group_missing or self._group.incomplete or self._group.under_way:
            problem = await self._make_group(of_group)
            if problem or not ours.create_log_stream:
                return problem
        elif not ours.create_log_stream:
            return absent(self._place, ours, stream_only=True)
        return await self.make(of_stream)

    async def _make_group(self, made: int) -> Outcome | None:
        if not self._properties.create_log_group:
            return absent(self._place, self._properties, stream_only=False)
        return await self._group.make(made)

    async def _attempt(self) -> Outcome | None:
        log_group, log_stream = self._names
        create = partial(_create_stream, log_group=log_group, log_stream=log_stream)
        try:
            async with self._creating:
                await self._client.run(create)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an outcome
            if error_code(error) != MISSING:
                return classify(error, self._place)
        else:
            return None
        return await self._make_group(self._group.made) or await self._attempt()

    @property
    def _place(self) -> Place:
        return self._client.place(*self._names)

    def _not_there_yet(self, wait: float) -> Outcome:
        log_group, log_stream = self._names
        reason = f"Log stream {log_stream} of {log_group} was made a moment ago and is not there yet."
        return Outcome(Verdict.RETRY, MISSING, reason, retry_after=wait)


class LogStreams:
    """The groups and streams of one destination: state is kept for those used last."""

    def __init__(self, properties: CloudWatchProperties, client: LogsClient) -> None:
        creating = asyncio.Lock()  # CreateLogStream is throttled per account and region (50 a second)
        group = lru_cache(KEPT)(partial(LogGroup, properties, client))

        @lru_cache(KEPT)
        def stream(log_group: str, log_stream: str) -> LogStream:
            return LogStream(properties, client, creating, group(log_group), log_group, log_stream)

        self.stream: Callable[[str, str], LogStream] = stream
        """Gives the state of a stream, by log group and log stream."""


def _create_stream(client: Any, log_group: str, log_stream: str) -> None:
    _create(client.create_log_stream, logGroupName=log_group, logStreamName=log_stream)


def _create(call: Callable[..., Any], **settings: object) -> bool:
    """Make a group or stream; False when somebody else has made it meanwhile."""
    try:
        call(**settings)
    except Exception as error:
        if error_code(error) != "ResourceAlreadyExistsException":
            raise
        return False
    return True


def absent(place: Place, properties: CloudWatchProperties, *, stream_only: bool) -> Outcome:
    """Say both fixes: let the sink make it, or the commands that do."""
    group, region, stream = shlex.quote(place.log_group), place.region, shlex.quote(place.log_stream)
    make_group = f"aws logs create-log-group --log-group-name {group} --region {region}"
    make_stream = (
        f"aws logs create-log-stream --log-group-name {group} --log-stream-name {stream} --region {region}"
    )
    if stream_only:
        what, setting, command = f"stream {place.log_stream} of log group", "create-log-stream", make_stream
    else:
        what, setting = "group", "create-log-group"
        command = make_group if properties.create_log_stream else f"{make_group} && {make_stream}"
    reason = f"Log {what} {place.log_group} does not exist in {region}."
    hint = f'Set {setting}: "true", or create it yourself: {command}'
    return Outcome(Verdict.BLOCKED, MISSING, reason, hint)
