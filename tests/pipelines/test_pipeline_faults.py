"""A fault of ours stops no pipeline for good: it is shown, and work begins again from what is recorded."""

from __future__ import annotations

import functools
import json
import pathlib

import pytest

from auditflow.pipelines import pipeline as flow_module
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.sinks._base import Outcome, Verdict

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")

pytestmark = pytest.mark.usefixtures("quick_retries")


async def test_a_fault_of_ours_is_shown_and_work_begins_again_from_what_is_recorded(
    world, sink, monkeypatch, caplog
):
    monkeypatch.setattr(flow_module, "pause", lambda *_: 0.05)
    faults = [RuntimeError("bug")]
    settled = PipelineOutcomes.settled

    def settle(self, *args, **kwargs):
        if faults:
            raise faults.pop()
        settled(self, *args, **kwargs)

    monkeypatch.setattr(PipelineOutcomes, "settled", settle)
    async with world.running(sink):
        events = await world.publish(2)
        await world.until(lambda: world.condition().get("state") == "retrying")
        assert world.condition()["lastError"]["message"] == "RuntimeError: bug"
        account = await world.settled()
        await world.until(lambda: world.condition()["state"] == "active")
    assert sink.calls == [events, events]
    assert account.delivered == 2
    assert "pipeline p failed and starts again" in caplog.text
    assert "INTERNAL_ERROR" in world.account().condition


async def test_a_stop_ends_the_pause_after_a_fault(world, sink, monkeypatch):
    monkeypatch.setattr(flow_module, "pause", lambda *_: 3600)

    def fault(*_, **__):
        raise RuntimeError("bug")

    monkeypatch.setattr(PipelineOutcomes, "settled", fault)
    async with world.running(sink):
        await world.publish(1)
        await world.until(lambda: world.condition().get("state") == "retrying")
    assert world.pending() == 1, "it has stopped, and not by settling the event"


async def test_what_troubled_it_before_a_fault_does_not_show_forever(world, sink, monkeypatch):
    monkeypatch.setattr(flow_module, "pause", lambda *_: 0.01)
    sink.answer(RETRY)
    settled = PipelineOutcomes.settled
    calls = []

    def settle(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("bug")
        settled(self, *args, **kwargs)

    monkeypatch.setattr(PipelineOutcomes, "settled", settle)
    async with world.running(sink):
        await world.publish(1)
        await world.settled()
        await world.until(lambda: world.condition()["state"] == "active")
    assert len(calls) == 3


async def test_the_pause_grows_with_each_fault(world, sink, monkeypatch):
    pauses = []
    monkeypatch.setattr(flow_module, "pause", lambda failures, _: pauses.append(failures) or 0.01)
    faults = [RuntimeError("one"), RuntimeError("two")]
    settled = PipelineOutcomes.settled

    def settle(self, *args, **kwargs):
        if faults:
            raise faults.pop()
        settled(self, *args, **kwargs)

    monkeypatch.setattr(PipelineOutcomes, "settled", settle)
    async with world.running(sink):
        await world.publish(1)
        await world.settled()
    assert pauses == [1, 2]


async def test_a_condition_of_a_former_run_does_not_outlive_it(world, sink):
    world.ledger.register(["p"], 1, 1)
    world.ledger.note({"p": '{"state":"blocked"}'})
    async with world.running(sink):
        await world.until(lambda: world.condition()["state"] != "blocked")
    assert world.condition()["state"] == "active"


def raising_for(sink, poison: bytes, error: BaseException):
    """Let a sink raise whenever a batch holds this event."""
    deliver = sink.deliver

    async def picky(events):
        if poison in list(events):
            raise error
        return await deliver(events)

    sink.deliver = picky


async def test_a_sink_that_raises_for_one_event_delivers_all_others_at_once(world, sink):
    async with world.running(sink):
        events = await world.publish(1)
        await world.settled()
        raising_for(sink, poison := b'{"poison":1}', RuntimeError("not this one"))
        good = await world.publish(20)
        await world.publish_bytes(poison)
        more = await world.publish(20)
        await world.until(lambda: world.account().delivered == 41)
        assert world.pending() == 1
        await world.until(lambda: world.condition()["state"] == "retrying")
        assert world.condition()["breaker"] == "closed"
    assert sorted(sink.delivered) == sorted(events + good + more)


async def test_value_error_means_never_and_the_others_go_on(world, sink):
    async with world.running(sink):
        raising_for(sink, poison := b'{"poison":1}', ValueError("no \\u0000 here"))
        await world.publish(5)
        await world.publish_bytes(poison)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (5, 1)
    (letter,) = world.ledger.dead_letters()
    assert (letter.event, "ValueError: no" in letter.reason) == (poison, True)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


CYCLE: dict = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "place",
    [
        {"path": pathlib.Path("/srv/audit")},
        {"text": "\ud800"},
        CYCLE,
        {"odd": Unprintable()},
        {1: object()},
        {"deep": functools.reduce(lambda inner, _: [inner], range(5_000), 0)},
        {"much": "x" * 10**6},
    ],
    ids=["path", "surrogate", "cycle", "unprintable", "object", "deep", "much"],
)
async def test_an_answer_that_json_cannot_hold_is_delivered_and_the_account_balances(world, sink, place):
    sink.answer(Outcome(Verdict.DELIVERED, where=place))
    async with world.running(sink):
        await world.publish(3)
        account = await world.settled()
    assert (account.delivered, account.dead_lettered) == (3, 0)
    receipt = world.ledger.receipt_of("p", 2)
    assert receipt is not None
    assert isinstance(json.loads(receipt.place), dict)
    assert len(receipt.place) < 20_000
