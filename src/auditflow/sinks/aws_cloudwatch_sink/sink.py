"""Delivers events to Amazon CloudWatch Logs, one message per event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import ClassVar, Final
from weakref import WeakValueDictionary

from auditflow.errors import SinkBlocked
from auditflow.sinks._aws.session import require_boto3
from auditflow.sinks._base import BatchLimits, Outcome, Sink, Verdict
from auditflow.sinks.aws_cloudwatch_sink import times as times_of
from auditflow.sinks.aws_cloudwatch_sink.client import LogsClient
from auditflow.sinks.aws_cloudwatch_sink.errors import Place, classify
from auditflow.sinks.aws_cloudwatch_sink.packing import OVERHEAD
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.put import Putter, unfinished, waiting
from auditflow.sinks.aws_cloudwatch_sink.shaping import Shaped, Shaper, Stream, outcomes_of

GATHERED: Final = 16
"""Requests' worth of events that are taken at once when they go to several streams, so that requests are fuller."""
_NOT_PUT: Final = Outcome(Verdict.RETRY)


class CloudWatchSink(Sink[CloudWatchProperties]):
    """Packs events into as few requests as the limits allow, per log group and stream."""

    Properties: ClassVar[type[CloudWatchProperties]] = CloudWatchProperties
    requires: ClassVar[dict[str, str]] = {"boto3": "aws"}

    def __init__(self, properties: CloudWatchProperties) -> None:
        super().__init__(properties)
        self._shaper = Shaper(properties)
        self._client = LogsClient(properties)
        self._putter = Putter(properties, self._client)
        self._turns: WeakValueDictionary[Stream, asyncio.Lock] = WeakValueDictionary()

    @property
    def destination(self) -> str:
        """Name region, log group and log stream."""
        place = self._place()
        return f"cloudwatch:{place.region}:{place.log_group}:{place.log_stream}"

    @property
    def limits(self) -> BatchLimits:
        """Ask for what fills one request, or many when events go to several streams: each gets its share of them."""
        ours = self.properties
        requests = 1 if self._shaper.fixed else GATHERED
        return BatchLimits(
            ours.max_batch_events * requests, ours.max_batch_bytes * requests, OVERHEAD, ours.flush_interval
        )

    @property
    def ordered(self) -> bool:
        """As the property says."""
        return self.properties.ordering == "ordered"

    async def open(self) -> None:
        """Load boto3 (MissingExtra without it) and connect; what is wrong with that, `deliver` says."""
        await self._client.in_thread(require_boto3, "aws_cloudwatch_sink")
        with suppress(Exception):  # a wrong profile or a missing key may be fixed while the sink is open
            await self._client.in_thread(self._client.session.client)

    async def probe(self) -> None:
        """Get credentials, and assume the role; raises SinkBlocked with the hint."""
        try:
            await self._client.in_thread(self._client.session.check_credentials)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its hint
            outcome = classify(error, self._place())
            raise SinkBlocked(
                destination=self.destination, reason=outcome.reason, hint=outcome.hint
            ) from None

    async def close(self) -> None:
        """Close connections and threads; a request in flight ends by itself within its timeouts."""
        self._client.close()

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Put the events; one request's problem is not another's, unless their order counts."""
        shaped = self._shaper.shape(events, times_of.now())
        ends = [_NOT_PUT] * len(shaped.messages)
        streams = iter(shaped.streams)

        async def put_streams() -> None:
            for stream in streams:  # shared: each takes the next
                await self._put_stream(stream, shaped, ends)

        # a task for each stream would be thousands
        workers = min(2 * self.properties.max_in_flight, len(shaped.streams))
        await asyncio.gather(*(put_streams() for _ in range(workers)))
        return outcomes_of(shaped, ends, len(events))

    async def _put_stream(self, stream: Stream, shaped: Shaped, ends: list[Outcome]) -> None:
        """Fill in the outcomes of one stream's positions."""
        requests = self._shaper.requests(shaped, stream)
        if self.ordered or stream in shaped.divided:
            answers = await self._put_in_order(stream, shaped, requests)
        else:
            answers = await asyncio.gather(*(self._put(stream, shaped, request) for request in requests))
        for at, outcome in zip(chain(*requests), chain(*answers), strict=True):
            ends[at] = outcome

    async def _put_in_order(
        self, stream: Stream, shaped: Shaped, requests: Sequence[Sequence[int]]
    ) -> list[list[Outcome]]:
        """Put one request after the other; after one that has to go again, the later ones wait for it."""
        answers: list[list[Outcome]] = []
        failure: Outcome | None = None
        async with self._turns.setdefault(stream, asyncio.Lock()):
            for request in requests:
                if failure:
                    answers.append([waiting(failure)] * len(request))
                    continue
                answers.append(await self._put(stream, shaped, request))
                failure = unfinished(answers[-1])
        return answers

    async def _put(self, stream: Stream, shaped: Shaped, request: Sequence[int]) -> list[Outcome]:
        times = list(map(shaped.times.__getitem__, request))
        messages = list(map(shaped.messages.__getitem__, request))
        return await self._putter.put(stream, times, messages)

    def _place(self) -> Place:
        return self._client.place(self.properties.log_group, self.properties.log_stream)
