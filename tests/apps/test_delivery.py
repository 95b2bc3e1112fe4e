import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from auditflow.apps import delivery as delivery_module
from auditflow.apps.delivery import Delivery, _change
from auditflow.config import PipelineConfig, Running
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Replay, Selection
from auditflow.ledger.memory import MemoryLedger
from auditflow.pipelines.read.tail import TailReader
from auditflow.plugins import Catalogue, SinkEntry, TransformerEntry, discover
from auditflow.sinks._base import Outcome, Verdict
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
        configs = [configured(pipeline) for pipeline in pipelines]
        ledger.register([config.name for config in configs], journal.head(), journal.oldest())
        stopping = asyncio.Event()
        running = asyncio.create_task(
            Delivery(configs, catalogue, TailReader(journal), ledger).run(stopping, seconds)
        )

        async def stop() -> None:
            stopping.set()
            await asyncio.wait_for(running, 60)

        yield stop
        await stop()

    return delivery


def configured(pipeline: dict[str, Any], tenant: str = "") -> Running:
    sink = {"name": "recorded"} | pipeline.get("sink", {})
    config = PipelineConfig.model_validate(pipeline | {"sink": sink})
    return Running(f"{tenant}/{config.name}" if tenant else config.name, tenant, config)


async def append(journal: MemoryJournal, count: int) -> None:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    events = [b'{"eventType":"a","sourceSystem":"b","eventId":"%s"}' % each.encode() for each in ids]
    await journal.append(AppendBatch(events, ids, [""] * count))


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


@dataclass
class Changing:
    """A delivery at work whose pipelines can change."""

    delivery: Delivery
    catalogue: Catalogue
    journal: MemoryJournal
    ledger: MemoryLedger

    async def change(self, *pipelines: dict[str, Any]) -> list[str]:
        configs = [configured(pipeline) for pipeline in pipelines]
        return await _change(self.delivery, self.journal, self.ledger, configs, self.catalogue)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a plain store
                await asyncio.sleep(0.005)

    def active(self) -> list[str]:
        return [account.pipeline for account in self.ledger.accounts() if account.active]

    def delivered(self, pipeline: str) -> int:
        return next(each.delivered for each in self.ledger.accounts() if each.pipeline == pipeline)


@pytest.fixture
async def changing(journal, ledger, made) -> AsyncIterator[Changing]:
    catalogue = discover()
    catalogue.add(SinkEntry("recorded", "test", lambda: Recorded))
    ledger.register(["a", "b"], 1, 1)
    delivery = Delivery([configured({"name": n}) for n in ("a", "b")], catalogue, TailReader(journal), ledger)
    stopping = asyncio.Event()
    running = asyncio.create_task(delivery.run(stopping, 5))
    yield Changing(delivery, catalogue, journal, ledger)
    stopping.set()
    await asyncio.wait_for(running, 60)


async def test_only_pipelines_that_change_are_touched_and_they_go_on_where_they_were(changing, made):
    await append(changing.journal, 3)
    await changing.until(lambda: changing.delivered("a") == changing.delivered("b") == 3)
    (shared,) = made
    other = {"name": "b", "sink": {"properties": {"to": "elsewhere"}}}
    assert await changing.change({"name": "a"}, other) == ["b"]
    await append(changing.journal, 2)
    await changing.until(lambda: changing.delivered("a") == changing.delivered("b") == 5)
    assert (len(shared.delivered), len(made[1].delivered), shared.closed) == (8, 2, 0)
    assert await changing.change({"name": "a"}, other) == []


async def test_a_pipeline_that_waits_for_its_next_attempt_changes_at_once(changing, made):
    made[0].answer(Outcome(Verdict.RETRY, "Throttled", retry_after=3600), times=100)
    await append(changing.journal, 3)
    await made[0].wait_until(lambda: made[0].calls)
    fixed = {"name": "a", "sink": {"properties": {"to": "elsewhere"}}}
    assert await changing.change(fixed, {"name": "b"}) == ["a"]
    await changing.until(lambda: changing.delivered("a") == 3)
    assert (changing.delivered("b"), made[0].closed) == (0, 0)


async def test_a_call_under_way_ends_first_and_one_that_hangs_is_cut_off_and_repeated(
    changing, made, monkeypatch
):
    monkeypatch.setattr(delivery_module, "CHANGE_SECONDS", 0.1)
    made[0].gate.clear()
    await append(changing.journal, 2)
    await made[0].wait_until(lambda: len(made[0].calls) == 2)
    assert await changing.change({"name": "b"}, {"name": "a", "sink": {"properties": {"to": "x"}}}) == ["a"]
    await changing.until(lambda: changing.delivered("a") == 2)
    account = next(each for each in changing.ledger.accounts() if each.pipeline == "a")
    assert account.duplicates == 2, "what was cut off may have arrived"
    made[0].gate.set()
    await changing.until(lambda: changing.delivered("b") == 2)


async def test_pipelines_come_and_go_and_destinations_that_nobody_uses_are_closed(changing, made):
    await append(changing.journal, 1)
    await changing.until(lambda: changing.delivered("a") == changing.delivered("b") == 1)
    new = {"name": "c", "sink": {"properties": {"to": "c"}, "fallback": {"name": "recorded"}}}
    assert await changing.change(new) == ["a", "b", "c"]
    assert changing.active() == ["c"]
    await append(changing.journal, 1)
    await changing.until(lambda: changing.delivered("c") == 1)
    assert (changing.delivered("a"), [sink.closed for sink in made]) == (1, [0, 0]), (
        "the fallback shares the first one"
    )
    await changing.change()
    assert [sink.closed for sink in made] == [1, 1]


async def test_a_sink_that_cannot_be_made_changes_nothing(changing, made):
    def broken(properties: Any) -> Any:
        raise RuntimeError("no")

    changing.catalogue.add(
        SinkEntry("broken", "test", lambda: type("B", (Recorded,), {"__init__": lambda *_: broken(0)}))
    )
    with pytest.raises(RuntimeError):
        await changing.change({"name": "a", "sink": {"name": "broken"}}, {"name": "c"})
    assert changing.active() == ["a", "b"]
    await append(changing.journal, 1)
    await changing.until(lambda: changing.delivered("a") == changing.delivered("b") == 1)


async def test_too_many_dead_letters_hold_new_events_and_not_their_replay(changing, made):
    made[0].answer(Outcome(Verdict.REJECTED, "Bad"), times=2)
    await append(changing.journal, 1)
    await changing.until(lambda: all(each.dead_lettered for each in changing.ledger.accounts()))
    changing.delivery.limits("a", Outcome(Verdict.BLOCKED, "DEAD_LETTERS_FULL", "too many"), "too many")
    changing.delivery.limits("nobody", None, "")
    await append(changing.journal, 1)
    await changing.until(lambda: changing.delivered("b") == 1)
    assert changing.delivered("a") == 0
    changing.ledger.replay(Selection(pipeline="a"), Replay(), 1)
    changing.delivery.heed(changing.ledger.accounts())
    await changing.until(lambda: changing.delivered("a") == 1)
    condition = json.loads(next(each.condition for each in changing.ledger.accounts()))
    assert (condition["state"], condition["warning"]) == ("blocked", "too many")
    changing.delivery.limits("a", None, "")
    await changing.until(lambda: changing.delivered("a") == 2)
