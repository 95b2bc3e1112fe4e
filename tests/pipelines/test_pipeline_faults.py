"""A fault of ours stops no pipeline for good: it is shown, and work begins again from what is recorded."""

from __future__ import annotations

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
