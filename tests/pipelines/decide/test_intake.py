"""Blocks become batches: full ones at once, partial ones when they have lingered, finished events never again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Progress
from auditflow.ledger.memory import MemoryLedger
from auditflow.pipelines.decide import intake as module
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.decide.intake import Intake
from auditflow.pipelines.deliver.batch import Batch
from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.sinks._base import BatchLimits


class World:
    """A journal that is followed, and what an intake makes of it."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.ledger = MemoryLedger()
        self.ledger.register(["p"], 1, 1)
        self.recorder = Recorder(self.ledger)
        self.tail = TailReader(self.journal)
        self.gate = PauseGate()
        self.progress = Progress(1)

    async def publish(self, count: int) -> None:
        first = self.journal.head()
        ids = [f"00000000-0000-4000-8000-{first + i:012d}" for i in range(count)]
        events = [b'{"n":%d}' % (first + i) for i in range(count)]
        await self.journal.append(AppendBatch(events, ids, ["_platform"] * count))

    def intake(self, decide: Decide | None = None) -> Intake:
        record = PipelineOutcomes("p", self.progress, self.recorder)
        return Intake(self.tail, self.gate, decide or Decide(), record, Fanout())

    def batches(self, decide: Decide | None = None, **limits: float) -> AsyncIterator[Batch]:
        return self.intake(decide).batches(BatchLimits(**limits))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.tail.run())
    yield world
    world.tail.stop()
    await asyncio.wait_for(running, 60)


async def following(batches: AsyncIterator[Batch], seconds: float = 5) -> list[int]:
    batch = await asyncio.wait_for(anext(batches), seconds)
    assert batch.events == batch.originals == [b'{"n":%d}' % n for n in batch.sequences]
    return batch.sequences


def only(*numbers: int) -> Decide:
    return Decide(lambda event: json.loads(event)["n"] in numbers)


async def test_full_batches_leave_at_once_and_the_rest_when_it_has_lingered(world):
    await world.publish(7)
    batches = world.batches(events=3, linger=0.2)
    started = asyncio.get_running_loop().time()
    assert await following(batches) == [1, 2, 3]
    assert await following(batches) == [4, 5, 6]
    assert asyncio.get_running_loop().time() - started < 0.15
    assert await following(batches) == [7]
    assert asyncio.get_running_loop().time() - started >= 0.2


async def test_a_batch_that_is_exactly_full_does_not_linger(world):
    await world.publish(3)
    assert await following(world.batches(events=3, linger=3600)) == [1, 2, 3]


async def test_lingering_counts_from_the_first_event_not_from_the_last(world):
    batches = world.batches(linger=0.2)
    leaving = asyncio.ensure_future(anext(batches))
    started = asyncio.get_running_loop().time()
    while not leaving.done():
        await world.publish(1)
        await asyncio.sleep(0.02)
    assert 0.2 <= asyncio.get_running_loop().time() - started < 0.5
    assert len(leaving.result()) > 3


async def test_each_batch_lingers_again(world):
    batches = world.batches(events=3, linger=0.1)
    await world.publish(4)
    assert await following(batches) == [1, 2, 3]
    await asyncio.sleep(0.15)
    started = asyncio.get_running_loop().time()
    assert await following(batches) == [4]
    assert asyncio.get_running_loop().time() - started >= 0.09
    await world.publish(1)
    started = asyncio.get_running_loop().time()
    assert await following(batches) == [5]
    assert asyncio.get_running_loop().time() - started >= 0.09


async def test_without_linger_a_partial_batch_leaves_with_its_blocks(world):
    await world.publish(2)
    assert await following(world.batches()) == [1, 2]


async def test_events_that_are_finished_already_are_left_out(world):
    world.progress = Progress(3, 0b1010)
    await world.publish(8)
    assert await following(world.batches()) == [3, 5, 7, 8]


async def test_a_block_that_is_finished_altogether_is_passed_over(world):
    world.progress = Progress(1, 0b110)
    for _ in range(4):
        await world.publish(1)
    batches = world.batches(events=1)
    assert await following(batches) == [1]
    assert await following(batches) == [4]


async def test_events_know_when_they_were_accepted(world):
    world.journal._clock = lambda: 5.0
    await world.publish(2)
    batch = await anext(world.batches())
    assert batch.accepted_at == [5000, 5000]


async def test_holes_and_damage_are_lost_and_what_follows_goes_on(world):
    for _ in range(4):
        await world.publish(2)
    del world.journal._blocks[0]
    world.journal._blocks[1].damage, world.journal._blocks[1].events = "checksum", []
    world.progress = Progress(1, 0b100000)
    batches = world.batches(events=2)
    assert await following(batches) == [3, 4]
    assert await following(batches) == [7, 8]
    await world.recorder._commit()
    assert [(one.sequence, one.count, one.reason) for one in world.ledger.dead_letters()] == [
        (1, 2, "the journal no longer holds these events"),
        (5, 1, "the journal cannot read these events: checksum"),
    ]


async def test_nothing_is_read_while_outcomes_cannot_be_recorded(world):
    world.recorder._writable = False
    await world.publish(1)
    leaving = asyncio.ensure_future(anext(world.batches()))
    await asyncio.sleep(0.05)
    assert not leaving.done()
    world.recorder._writable = True
    assert (await asyncio.wait_for(leaving, 60)).sequences == [1]


async def test_a_stop_ends_it_also_while_outcomes_cannot_be_recorded(world):
    world.recorder._writable = False
    leaving = asyncio.ensure_future(anext(world.batches(), None))
    await asyncio.sleep(0.05)
    world.gate.stop()
    with pytest.raises(Stopped):
        await asyncio.wait_for(leaving, 60)


async def test_reading_waits_until_the_first_open_event_is_near_enough(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_AHEAD", 4)
    for _ in range(5):
        await world.publish(2)
    intake = world.intake()
    batches = intake.batches(BatchLimits(events=2))
    world.tail._window = []
    for _ in range(3):
        await following(batches)
    leaving = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.05)
    assert not leaving.done()
    world.progress.finish(1)
    intake.advanced.set()
    await asyncio.sleep(0.01)
    assert not leaving.done()
    world.progress.finish(2)
    intake.advanced.set()
    assert (await asyncio.wait_for(leaving, 60)).sequences == [7, 8]


async def test_a_partial_batch_leaves_early_when_everything_waits_for_it(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_AHEAD", 4)
    await world.publish(1)
    batches = world.batches(only(1, 10), linger=3600)
    leaving = asyncio.ensure_future(anext(batches))
    for _ in range(3):
        await world.publish(2)
    assert (await asyncio.wait_for(leaving, 60)).sequences == [1]


async def test_a_stop_ends_it_while_it_waits_for_the_first_open_event(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_AHEAD", 1)
    await world.publish(3)
    intake = world.intake()
    batches = intake.batches(BatchLimits(events=3))
    await following(batches)
    leaving = asyncio.ensure_future(anext(batches, None))
    await asyncio.sleep(0.01)
    world.gate.stop()
    intake.advanced.set()
    with pytest.raises(Stopped):
        await asyncio.wait_for(leaving, 60)


async def test_transformers_do_not_hold_up_the_event_loop(world):
    loop_ran = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(event, _):
        asyncio.run_coroutine_threadsafe(_set(loop_ran), loop).result(5)
        return event

    await world.publish(1)
    assert await following(world.batches(Decide(transforms=[(slow, {})]))) == [1]


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_pipeline_of_everybodys_events_comes_by_what_has_made_room(world):
    ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(4)]
    events = [b'{"n":%d}' % number for number in (1, 2, 3, 4)]
    await world.journal.append(AppendBatch(events, ids, ["a", "b", "a", "b"]))
    assert world.journal.thin({"a": 1})
    batch = await asyncio.wait_for(anext(world.batches(events=2)), 5)
    assert (batch.sequences, batch.events) == ([1, 3], [events[0], events[2]])
    world.progress.finish_all(batch.sequences)
    assert (world.progress.low, world.progress.done) == (5, 0)
