"""The journal is read once for all who are at its head; who lags reads alone until it has caught up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from auditflow.errors import JournalDamaged
from auditflow.journal import AppendBatch, Block
from auditflow.journal.memory import MemoryJournal
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.read import tail as module
from auditflow.pipelines.read.tail import TailReader


class CountingJournal(MemoryJournal):
    """Remembers where it was read; raises what `fault` is set to."""

    fault: Exception | None = None

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    def read(self, start: int, max_bytes: int, tenant: str = "") -> list[Block]:
        self.reads.append(start)
        if self.fault:
            raise self.fault
        return super().read(start, max_bytes, tenant)

    async def publish(self, count: int = 1, size: int = 10) -> None:
        ids = [f"00000000-0000-4000-8000-{self.head() + i:012d}" for i in range(count)]
        await self.append(AppendBatch([b"x" * size] * count, ids, ["_platform"] * count))


@pytest.fixture
def journal() -> CountingJournal:
    return CountingJournal()


@contextlib.asynccontextmanager
async def running(journal: CountingJournal) -> AsyncIterator[TailReader]:
    tail = TailReader(journal)
    running = asyncio.create_task(tail.run())
    yield tail
    tail.stop()
    await asyncio.wait_for(running, 60)


async def until_read(tail: TailReader, end: int) -> None:
    async with asyncio.timeout(60):
        while tail._next < end:  # noqa: ASYNC110 - a thread changes what is awaited
            await asyncio.sleep(0.001)


async def test_whoever_waits_at_the_head_gets_the_next_block_from_one_read(journal):
    async with running(journal) as tail:
        waiting = [asyncio.create_task(tail.next(1, PauseGate())) for _ in range(3)]
        await asyncio.sleep(0.01)
        await journal.publish(4)
        results = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert [[one.sequences[0] for one in slices] for slices in results] == [[1]] * 3
    assert journal.reads == [1]


async def test_blocks_come_in_order_beginning_with_the_one_that_holds_the_number(journal):
    async with running(journal) as tail:
        for _ in range(3):
            await journal.publish(2)
        await until_read(tail, 7)
        found = {
            start: [one.sequences[0] for one in await tail.next(start, PauseGate())] for start in range(1, 7)
        }
    assert found == {1: [1, 3, 5], 2: [1, 3, 5], 3: [3, 5], 4: [3, 5], 5: [5], 6: [5]}
    assert len(journal.reads) <= 3


async def test_what_was_there_before_the_start_is_read_by_who_needs_it(journal):
    await journal.publish(2)
    await journal.publish(2)
    async with running(journal) as tail:
        assert [one.sequences[0] for one in await tail.next(2, PauseGate())] == [1, 3]
    assert journal.reads == [2]


async def test_who_lags_behind_the_window_reads_alone_and_then_joins_the_others(journal, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_BYTES", 2 * 110)
    async with running(journal) as tail:
        for end in range(2, 7):
            await journal.publish()
            await until_read(tail, end)
        assert [block.first for block in tail._window] == [4, 5]
        assert tail._filled == [440, 550]
        reads = len(journal.reads)
        assert [one.sequences[0] for one in await tail.next(2, PauseGate())] == [2, 3, 4, 5]
        assert journal.reads[reads:] == [2]
        assert [one.sequences[0] for one in await tail.next(4, PauseGate())] == [4, 5]
        assert len(journal.reads) == reads + 1


async def test_the_newest_block_stays_however_large(journal, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_BYTES", 10)
    async with running(journal) as tail:
        await journal.publish(3)
        await until_read(tail, 4)
        assert [one.sequences[0] for one in await tail.next(1, PauseGate())] == [1]
    assert journal.reads == [1]


async def test_no_more_than_one_read_is_given_at_once_lest_the_slow_keep_the_whole_window(
    journal, monkeypatch
):
    monkeypatch.setattr(module, "READ_BYTES", 2 * 110)
    async with running(journal) as tail:
        for end in range(2, 8):
            await journal.publish()
            await until_read(tail, end)
        assert [one.sequences[0] for one in await tail.next(1, PauseGate())] == [1, 2, 3]
        assert [one.sequences[0] for one in await tail.next(6, PauseGate())] == [6]


async def test_a_stop_of_a_pipeline_lets_go_who_waits_for_it_and_nobody_else(journal):
    await journal.publish()
    async with running(journal) as tail:
        gates = PauseGate(), PauseGate()
        waiting = [asyncio.create_task(tail.next(2, gate)) for gate in gates]
        await asyncio.sleep(0.01)
        gates[0].stop()
        with pytest.raises(Stopped):
            await asyncio.wait_for(waiting[0], 60)
        await journal.publish()
        assert [one.sequences[0] for one in await asyncio.wait_for(waiting[1], 60)] == [2]


async def test_after_one_block_the_next_is_awaited_without_keeping_the_loop_busy(journal):
    async with running(journal) as tail:
        await journal.publish()
        await until_read(tail, 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tail.next(2, PauseGate()), 0.03)


async def test_damage_reaches_who_runs_the_tail(journal):
    tail = TailReader(journal)
    await journal.publish()
    journal.fault = JournalDamaged(path="journal.db", reason="checksum")
    with pytest.raises(JournalDamaged):
        await asyncio.wait_for(tail.run(), 60)


async def test_damage_reaches_who_reads_alone(journal):
    await journal.publish()
    journal.fault = JournalDamaged(path="journal.db", reason="checksum")
    with pytest.raises(JournalDamaged):
        await TailReader(journal).next(1, PauseGate())


async def test_events_missing_before_the_head_make_nobody_read_again_and_again(journal):
    await journal.publish()
    del journal._blocks[0]
    async with running(journal) as tail:
        waiting = asyncio.create_task(tail.next(1, PauseGate()))
        await asyncio.sleep(0.05)
        assert len(journal.reads) == 1
        await journal.publish()
        assert [one.sequences[0] for one in await asyncio.wait_for(waiting, 60)] == [1, 2]


async def test_an_empty_read_at_the_head_is_not_repeated_without_a_pause(journal, monkeypatch):
    async with running(journal) as tail:
        monkeypatch.setattr(journal, "head", lambda: 2)
        await asyncio.sleep(0.1)
        assert len(journal.reads) <= 6
        assert tail._next == 1


async def test_blocks_that_arrive_during_an_empty_read_are_not_missed(journal, monkeypatch):
    await journal.publish()
    del journal._blocks[0]
    tail = TailReader(journal)

    async def read_while_one_arrives(start: int) -> list[Block]:
        monkeypatch.undo()
        await journal.publish()
        tail._extend(journal.read(2, 1))
        tail._wake()
        return []

    monkeypatch.setattr(tail, "read", read_while_one_arrives)
    assert [one.sequences[0] for one in await asyncio.wait_for(tail.next(1, PauseGate()), 60)] == [1, 2]
