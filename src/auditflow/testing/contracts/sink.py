# ruff: noqa: S101 - a test suite is made of assertions
"""The suite that every sink passes.

Inherit `SinkContract` in the sink's test module, name the sink, and give the fixtures what they ask for::

    class TestContract(SinkContract):
        sink = MySink

        @pytest.fixture
        def properties(self, server):
            return {"url": server.url}

        @pytest.fixture
        def arrived(self, server):
            return lambda: server.events
"""
# Tested in tests/sinks/test_logging_sink.py.

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from auditflow.errors import MissingExtra
from auditflow.settings import describe
from auditflow.sinks._base import Outcome, Sink, Verdict

Given = Mapping[str, Any]


class SinkContract:
    """What a sink promises to the pipelines, whatever its destination."""

    sink: ClassVar[type[Sink[Any]]]
    """The sink under test."""

    @pytest.fixture
    def properties(self) -> Given:
        """Give properties of a destination that works, as in YAML; secrets included, if the sink has any."""
        raise NotImplementedError

    @pytest.fixture
    def arrived(self) -> Callable[[], Sequence[Any]]:
        """Give a function that tells which events have arrived, decoded, in any order."""
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> Given | None:
        """Give properties of a destination where nobody answers; None when that cannot happen."""
        return None

    def made(self, properties: Given) -> Sink[Any]:
        """Make the sink."""
        return self.sink(self.sink.Properties.model_validate(properties))

    async def delivered(self, properties: Given, events: Sequence[bytes]) -> list[Outcome]:
        """Open the sink, deliver once, close it."""
        sink = self.made(properties)
        try:
            await sink.open()
            return await sink.deliver(events)
        finally:
            await sink.close()

    async def test_every_event_has_one_outcome_and_arrives_unchanged(
        self, properties: Given, arrived: Callable[[], Sequence[Any]]
    ) -> None:
        """A batch of every shape of event is delivered."""
        outcomes = await self.delivered(properties, [_encoded(event) for event in EVENTS])
        assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * len(EVENTS)
        assert sorted(map(_encoded, arrived())) == sorted(map(_encoded, EVENTS))

    async def test_an_empty_batch_has_no_outcomes(self, properties: Given) -> None:
        """Nothing in, nothing out."""
        assert await self.delivered(properties, []) == []

    async def test_deliveries_may_overlap(
        self, properties: Given, arrived: Callable[[], Sequence[Any]]
    ) -> None:
        """Pipelines that share a destination call it at the same time."""
        sink = self.made(properties)
        await sink.open()
        batches = [[_encoded({**EVENTS[0], "n": f"{batch}-{n}"}) for n in range(5)] for batch in range(8)]
        outcomes = await asyncio.gather(*(sink.deliver(batch) for batch in batches))
        await sink.close()
        assert [o.verdict for answer in outcomes for o in answer] == [Verdict.DELIVERED] * 40
        assert len({event["n"] for event in arrived()}) == 40  # noqa: PLR2004 - 8 batches of 5

    async def test_what_is_no_event_spoils_nothing(self, properties: Given) -> None:
        """Bytes that are no UTF-8 have an outcome, as have their neighbours."""
        outcomes = await self.delivered(properties, [_encoded(EVENTS[0]), b"\xff\xfe", _encoded(EVENTS[1])])
        assert [outcomes[0].verdict, outcomes[2].verdict] == [Verdict.DELIVERED] * 2
        assert outcomes[1].verdict in {Verdict.DELIVERED, Verdict.REJECTED}

    async def test_a_destination_that_does_not_answer_is_tried_again(self, unreachable: Given | None) -> None:
        """It does not raise, and says what happened."""
        if unreachable is None:
            pytest.skip("this destination is always there")
        outcomes = await self.delivered(unreachable, [_encoded(event) for event in EVENTS])
        assert [outcome.verdict for outcome in outcomes] == [Verdict.RETRY] * len(EVENTS)
        assert all(outcome.code and outcome.reason for outcome in outcomes)

    def test_an_unknown_property_is_refused_by_name(self, properties: Given) -> None:
        """A typing error must not pass in silence."""
        with pytest.raises(ValidationError, match="no-such-property"):
            self.made({**properties, "no-such-property": "1"})

    def test_every_property_is_described(self) -> None:
        """People and the schema need it."""
        undescribed = [each.name for each in describe(self.sink.Properties) if not each.description]
        assert undescribed == []

    async def test_secrets_are_not_shown(self, properties: Given, unreachable: Given | None) -> None:
        """Neither in the representation, nor in the destination's name, nor in an outcome."""
        secrets = {
            str(properties[each.name])
            for each in describe(self.sink.Properties)
            if each.secret and each.name in properties
        }
        sink = self.made(properties)
        shown = [repr(sink), repr(sink.properties), str(sink.properties), sink.destination]
        if unreachable is not None:
            shown.append(repr(await self.delivered({**properties, **unreachable}, [_encoded(EVENTS[0])])))
        await sink.close()
        assert [text for text in shown if any(secret in text for secret in secrets)] == []

    async def test_it_closes_whatever_came_before(self, properties: Given) -> None:
        """Not opened, opened, or closed already."""
        await self.made(properties).close()
        sink = self.made(properties)
        await sink.open()
        await sink.close()
        await sink.close()
        assert sink.destination

    def test_making_one_imports_nothing_heavy(self) -> None:
        """Optional packages and HTTP clients are loaded by `open`."""
        packages = [*self.sink.requires, "httpx2", "botocore"]
        code = f"import sys, {self.sink.__module__}; print([p for p in {packages!r} if p in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
        assert run.stdout.strip() == "[]"

    async def test_a_missing_package_is_named_with_its_extra(
        self, properties: Given, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The error says what to install."""
        for package, extra in self.sink.requires.items():
            sink = self.made(properties)
            monkeypatch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtra) as caught:
                await sink.open()
            monkeypatch.undo()
            await sink.close()
            assert package in str(caught.value)
            assert f"auditflow-server[{extra}]" in caught.value.hint


EVENTS: Sequence[Mapping[str, Any]] = (
    {"eventType": "auth.login", "sourceSystem": "portal", "timestamp": "2026-01-02T03:04:05.678Z"},
    {
        "eventType": "plain",
        "sourceSystem": "a",
        "extra": {"quote": '"', "line": "a\nb", "back": "\\", "tab": "\t"},
    },
    {
        "eventType": "wörld",
        "sourceSystem": "日本語",
        "extra": {"emoji": "🎉", "rtl": "שלום", "line": "\u2028"},
    },
    {
        "eventType": "numbers",
        "sourceSystem": "a",
        "extra": {"big": 2**60, "real": 1.5, "no": None, "yes": True},
    },
)
"""Events that a careless encoder breaks."""


def _encoded(event: Any) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
