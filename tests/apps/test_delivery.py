import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from auditflow.apps.delivery import Delivery
from auditflow.config.model import PipelineConfig
from auditflow.journal import Batch
from auditflow.journal.memory import MemoryJournal, MemoryLedger
from auditflow.pipelines.tail import Tail
from auditflow.plugins import SinkEntry, TransformerEntry, discover
from auditflow.testing.recording_sink import RecordingSink


class Recorded(RecordingSink):
    """As a plugin: made from properties."""

    made: ClassVar[list["Recorded"]] = []

    def __init__(self, properties: Any) -> None:
        super().__init__()
        self.closed = 0
        self.made.append(self)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def made() -> list[Recorded]:
    Recorded.made = []
    return Recorded.made


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def delivery(journal, ledger, made) -> Callable[..., Any]:
    catalogue = discover()
    catalogue.add(SinkEntry("recorded", "test", lambda: Recorded))
    catalogue.add(TransformerEntry("mark", "test", lambda: lambda event: event | {"marked": True}))

    @asynccontextmanager
    async def delivery(*pipelines: dict[str, Any], seconds: float = 5.0) -> AsyncIterator[Callable[[], Any]]:
        configs = [PipelineConfig.model_validate(p | {"sink": {"name": "recorded"} | p.get("sink", {})}) for p in pipelines]  # fmt: skip
        ledger.register([config.name for config in configs], journal.head(), journal.oldest())
        stopping = asyncio.Event()
        running = asyncio.create_task(
            Delivery(configs, catalogue, Tail(journal), ledger).run(stopping, seconds)
        )

        async def stop() -> None:
            stopping.set()
            await asyncio.wait_for(running, 20)

        yield stop
        await stop()

    return delivery


async def append(journal: MemoryJournal, count: int) -> None:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    events = [b'{"eventType":"a","sourceSystem":"b","eventId":"%s"}' % each.encode() for each in ids]
    await journal.append(Batch(events, ids, [""] * count))


async def test_pipelines_with_the_same_sink_and_properties_share_it(delivery, journal, ledger, made):
    other = {"name": "c", "sink": {"properties": {"to": "elsewhere"}}}
    async with delivery({"name": "a"}, {"name": "b"}, other):
        await append(journal, 3)
        shared, alone = made
        await shared.wait_until(lambda: len(shared.delivered) == 6)
        await alone.wait_until(lambda: len(alone.delivered) == 3)
    assert [account.delivered for account in ledger.accounts()] == [3, 3, 3]
    assert [sink.closed for sink in made] == [1, 1]


async def test_events_pass_through_condition_and_transformer(delivery, journal, ledger, made):
    rules = {"rules": [{"field": "eventType", "operator": "eq", "value": "z"}]}
    pipelines = (
        {"name": "marked", "transformer": {"name": "mark"}},
        {"name": "none", "condition": rules},
    )
    async with delivery(*pipelines):
        await append(journal, 2)
        await made[0].wait_until(lambda: len(made[0].delivered) == 2)
        while any(a.progress.low < journal.head() for a in ledger.accounts()):  # noqa: ASYNC110 - a plain store
            await asyncio.sleep(0.01)
    assert all(b'"marked":true' in event for event in made[0].delivered)
    assert [(account.delivered, account.filtered) for account in ledger.accounts()] == [(2, 0), (0, 2)]


async def test_a_stop_lets_the_call_under_way_end_and_records_it(delivery, journal, ledger, made):
    async with delivery({"name": "a"}) as stop:
        (sink,) = made
        sink.gate.clear()
        await append(journal, 2)
        await sink.wait_until(lambda: sink.calls)
        stopped = asyncio.create_task(stop())
        await asyncio.sleep(0)
        assert not stopped.done()
        sink.gate.set()
        await stopped
    assert ledger.accounts()[0].delivered == 2
    assert sink.closed == 1


async def test_a_call_that_does_not_end_in_time_is_given_up_and_its_events_stay(
    delivery, journal, ledger, made
):
    async with delivery({"name": "a"}, seconds=0.05):
        (sink,) = made
        sink.gate.clear()
        await append(journal, 2)
        await sink.wait_until(lambda: sink.calls)
    (account,) = ledger.accounts()
    assert (account.delivered, account.progress.low) == (0, 1)
