"""Putting the messages of one request, until each of them has an outcome."""
# Tested in tests/sinks/aws_cloudwatch_sink/test_sink.py.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from auditflow.sinks._base import Outcome, Verdict, shared
from auditflow.sinks.aws_cloudwatch_sink import times as times_of
from auditflow.sinks.aws_cloudwatch_sink.client import LogsClient
from auditflow.sinks.aws_cloudwatch_sink.errors import MISSING, STALE_SEQUENCE, classify
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.shaping import OUT_OF_WINDOW, Stream
from auditflow.sinks.aws_cloudwatch_sink.streams import LogStreams

ATTEMPTS: Final = 3
"""How often one request is put at once, after a fix (a made stream, a stale token), before it waits its turn."""


class Putter:
    """Puts first, and makes log group and stream only when told that they are missing."""

    def __init__(self, properties: CloudWatchProperties, client: LogsClient) -> None:
        self._client = client
        self._clamp = properties.out_of_window == "clamp"
        self._streams = LogStreams(properties, client)

    async def put(self, stream: Stream, times: Sequence[int], messages: Sequence[bytes]) -> list[Outcome]:
        """Give one outcome per message; put again at now, once, those whose time the service does not take."""
        outcomes = await self._put_divided(stream, times, messages)
        whole = shared(outcomes)
        if whole and whole.verdict is Verdict.DELIVERED:
            return outcomes
        late = [at for at, outcome in enumerate(outcomes) if outcome.code in OUT_OF_WINDOW]
        if late and self._clamp:
            now = [times_of.now()] * len(late)
            again = await self._put_divided(stream, now, [messages[at] for at in late])
            for at, outcome in zip(late, again, strict=True):
                outcomes[at] = _REFUSED_AT_NOW.get(outcome.code, outcome)
        return outcomes

    async def _put_divided(
        self, stream: Stream, times: Sequence[int], messages: Sequence[bytes]
    ) -> list[Outcome]:
        """Give one outcome per message; halve what the service refuses as a whole, down to the guilty ones."""
        result = await self._put_whole(stream, times, messages)
        count = len(messages)
        if isinstance(result, dict):
            delivered = Outcome(Verdict.DELIVERED, where=self._where(stream))
            if not result:
                return [delivered] * count
            return [OUT_OF_WINDOW[result[at]] if at in result else delivered for at in range(count)]
        if result.verdict is Verdict.REJECTED and count > 1:
            middle = count // 2
            first = await self._put_divided(stream, times[:middle], messages[:middle])
            failure = unfinished(first)
            if failure:
                return first + [waiting(failure)] * (count - middle)
            return first + await self._put_divided(stream, times[middle:], messages[middle:])
        return [result] * count

    async def _put_whole(
        self, stream: Stream, times: Sequence[int], messages: Sequence[bytes]
    ) -> dict[int, str] | Outcome:
        """Give index → code of those refused in a request that was taken, or what became of it whole."""
        log_stream = self._streams.stream(*stream)
        outcome = Outcome(Verdict.RETRY)
        for _ in range(ATTEMPTS):
            made = log_stream.all_made
            try:
                return await self._client.put(*stream, times, messages)
            except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an outcome
                outcome = classify(error, self._client.place(*stream))
                if outcome.verdict is Verdict.DELIVERED:
                    return {}
                if outcome.code == MISSING:
                    problem = await log_stream.make_missing(error, made)
                    if problem:
                        return problem
                elif outcome.code != STALE_SEQUENCE:
                    return outcome
        return Outcome(Verdict.RETRY, outcome.code, outcome.reason, outcome.hint)

    def _where(self, stream: Stream) -> dict[str, str]:
        place = self._client.place(*stream)
        return {
            "destination": f"cloudwatch:{place.region}:{place.log_group}:{place.log_stream}",
            "log_group": place.log_group,
            "log_stream": place.log_stream,
            "region": place.region,
        }


def unfinished(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Give the outcome of the first message that will be put again; None when all have come to an end."""
    return next((each for each in outcomes if each.verdict in {Verdict.RETRY, Verdict.BLOCKED}), None)


def waiting(failure: Outcome) -> Outcome:
    """Give the outcome of what was not put because something before it failed."""
    return replace(failure, ambiguous=False)


_REFUSED_AT_NOW: Final = {
    code: replace(outcome, reason=f"{outcome.reason} It refused now, too.", hint="Set this machine's clock.")
    for code, outcome in OUT_OF_WINDOW.items()
}
