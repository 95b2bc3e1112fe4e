"""From events to messages: which one goes where, under which time, in how many parts. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from auditflow.event.parts import split
from auditflow.event.time import event_time
from auditflow.sinks._base import Outcome, TimedEvents, Verdict
from auditflow.sinks.aws_cloudwatch_sink import times as times_of
from auditflow.sinks.aws_cloudwatch_sink.packing import MAX_BYTES, MAX_EVENT_BYTES, OVERHEAD, pack
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.templates import GROUP, STREAM, Places, Template

Stream = tuple[str, str]
"""The names of a log group and of a stream in it."""

TOO_LARGE: Final = Outcome(
    Verdict.REJECTED,
    "EVENT_TOO_LARGE",
    f"The event is larger than {MAX_EVENT_BYTES} bytes, the most that CloudWatch Logs takes.",
    "Set oversize: split, or make it smaller with a transformer, and replay it.",
)
NO_TEXT: Final = Outcome(
    Verdict.REJECTED, "NotUtf8Error", "The event is no UTF-8 text, so it cannot be divided into parts."
)
_CLAMP: Final = (
    "Set out-of-window: clamp to file such events under the time of their delivery, and replay it."
)
OUT_OF_WINDOW: Final = {
    "TOO_OLD": Outcome(
        Verdict.REJECTED, "TOO_OLD", "CloudWatch Logs takes no event that is more than 14 days old.", _CLAMP
    ),
    "TOO_NEW": Outcome(
        Verdict.REJECTED, "TOO_NEW", "CloudWatch Logs takes no event more than 2 hours ahead.", _CLAMP
    ),
    "EXPIRED": Outcome(
        Verdict.REJECTED, "EXPIRED", "The event is older than the log group's retention.", _CLAMP
    ),
}
"""Code → outcome of an event whose time the service does not take."""


@dataclass(slots=True)
class Shaped:
    """What a batch of events becomes. Positions count messages: the events, and behind them all parts."""

    messages: list[bytes]
    times: list[int]
    """Unix milliseconds."""
    sizes: list[int]
    """Bytes as the service counts them."""
    streams: dict[Stream, list[int]] = field(default_factory=dict)
    """The positions of what goes to each stream."""
    refused: dict[int, Outcome] = field(default_factory=dict)
    """The position of each event that is not sent → why."""
    parts: dict[int, range] = field(default_factory=dict)
    """The position of each event that is divided → those of its parts."""
    divided: set[Stream] = field(default_factory=set)
    """Streams that get parts."""


class Shaper:
    """Gives events their place, time and parts, as the properties say."""

    def __init__(self, properties: CloudWatchProperties) -> None:
        self._properties = properties
        group, stream = Template(properties.log_group, GROUP), Template(properties.log_stream, STREAM)
        self.fixed = group.fixed and stream.fixed
        """Whether all events go to one stream."""
        self._only: Stream = (properties.log_group, properties.log_stream)
        self._places = Places(group, stream)

    def shape(self, events: Sequence[bytes], now: int) -> Shaped:
        """Work out what is to be sent. `now` in Unix milliseconds."""
        shaped = Shaped(
            list(events), list(self._times(events, now)), [len(event) + OVERHEAD for event in events]
        )
        if self._properties.out_of_window == "dead-letter":
            shaped.refused = dict(_outside(shaped.times, now))
        if max(shaped.sizes, default=0) > MAX_BYTES:
            self._divide_all(shaped)
        if self.fixed and not shaped.refused and not shaped.parts:
            shaped.streams = {self._only: list(range(len(events)))}
        else:
            self._place(shaped, len(events))
        return shaped

    def requests(self, shaped: Shaped, stream: Stream) -> list[list[int]]:
        """Divide what goes to a stream into requests, as few as the limits allow, oldest first."""
        ours = self._properties
        positions = shaped.streams[stream]
        return pack(positions, shaped.times, shaped.sizes, ours.max_batch_events, ours.max_batch_bytes)

    def stream_of(self, event: bytes) -> Stream:
        """Name the log group and the stream that an event goes to."""
        return self._only if self.fixed else self._places.of(event)

    def _times(self, events: Sequence[bytes], now: int) -> Sequence[int]:
        if self._properties.timestamp == "delivery":
            return [now] * len(events)
        known = events.times if isinstance(events, TimedEvents) else None
        times = known or [event_time(event, now) for event in events]
        return times if self._properties.out_of_window == "dead-letter" else times_of.clamp(times, now)

    def _divide_all(self, shaped: Shaped) -> None:
        """Divide the events that are too large for one message."""
        for at, size in enumerate(list(shaped.sizes)):
            if size > MAX_BYTES and at not in shaped.refused:
                self._divide(shaped, at)

    def _divide(self, shaped: Shaped, at: int) -> None:
        if self._properties.oversize == "dead-letter":
            shaped.refused[at] = TOO_LARGE
            return
        try:
            parts = split(shaped.messages[at], MAX_EVENT_BYTES)
        except UnicodeDecodeError:
            shaped.refused[at] = NO_TEXT
            return
        shaped.parts[at] = range(len(shaped.messages), len(shaped.messages) + len(parts))
        shaped.messages += parts
        shaped.times += [shaped.times[at]] * len(parts)
        shaped.sizes += [len(part) + OVERHEAD for part in parts]

    def _place(self, shaped: Shaped, count: int) -> None:
        streams: defaultdict[Stream, list[int]] = defaultdict(list)
        for at, event in enumerate(shaped.messages[:count]):
            if at in shaped.refused:
                continue
            stream = self.stream_of(event)
            if at in shaped.parts:
                streams[stream].extend(shaped.parts[at])
                shaped.divided.add(stream)
            else:
                streams[stream].append(at)
        shaped.streams = dict(streams)


def _outside(times: Sequence[int], now: int) -> Iterator[tuple[int, Outcome]]:
    oldest, newest = now - times_of.OLDEST, now + times_of.NEWEST
    for at, moment in enumerate(times):
        if not oldest <= moment <= newest:
            yield at, OUT_OF_WINDOW["TOO_OLD" if moment < oldest else "TOO_NEW"]


def outcomes_of(shaped: Shaped, sent: list[Outcome], count: int) -> list[Outcome]:
    """Give one outcome for each of the `count` events, by what became of each position that was sent."""
    for at, outcome in shaped.refused.items():
        sent[at] = outcome
    for at, parts in shaped.parts.items():
        sent[at] = _of_parts([sent[part] for part in parts])
    return sent[:count]


def _of_parts(outcomes: Sequence[Outcome]) -> Outcome:
    """Give the outcome of an event by those of its parts: it is delivered when all of them are.

    Otherwise all of them go again, so what has arrived of it will be there twice.
    """
    for verdict in (Verdict.REJECTED, Verdict.BLOCKED, Verdict.RETRY):
        for outcome in outcomes:
            if outcome.verdict is verdict:
                arrived = any(other.verdict is Verdict.DELIVERED for other in outcomes)
                return replace(outcome, ambiguous=outcome.ambiguous or arrived)
    return outcomes[0]
