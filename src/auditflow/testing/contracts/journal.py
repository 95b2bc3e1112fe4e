# ruff: noqa: S101, PLR2004 - a test suite is made of assertions and literal expectations
"""The contract suite of the journal: every implementation inherits it and passes (J8).

Derive a test class, give it the abstract factory, and let pytest (with pytest-asyncio in auto mode) run it::

    class TestMyJournal(JournalContract):
        def make(self, **settings): return MyJournal(**settings)

Importing this module needs neither pytest nor an implementation.
"""
# Tested in tests/journal/test_memory.py.

from __future__ import annotations

import asyncio
import json
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from auditflow.errors import JournalFull, JournalUnavailable
from auditflow.event.model import PLATFORM_TENANT
from auditflow.journal import GONE, AppendBatch, Appended, Journal

DAY: Final = 86_400.0
PLENTY: Final = 2**30


class Clock:
    """A clock that stands still until it is told otherwise; seconds since 1970."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Give the time."""
        return self.now

    @property
    def milliseconds(self) -> int:
        """The time in the unit of `Block.appended_at`."""
        return int(self.now * 1000)


def new_ids(count: int) -> list[str]:
    """Make event ids."""
    return [str(uuid.uuid4()) for _ in range(count)]


def event(event_id: str, tenant: str = PLATFORM_TENANT, *, text: str = "", stamp: str = "12:00:00") -> bytes:
    """Make a stamped event; `text` is what the client says, `stamp` what the server adds."""
    fields: dict[str, Any] = {
        "eventId": event_id,
        "timestamp": stamp,
        "eventType": "test",
        "sourceSystem": "suite",
    }
    if tenant != PLATFORM_TENANT:
        fields["tenantId"] = tenant
    return json.dumps(fields | {"extra": {"text": text}}, separators=(",", ":")).encode()


def batch(
    ids: Iterable[str],
    tenant: str = PLATFORM_TENANT,
    *,
    text: str = "",
    stamp: str = "12:00:00",
    supplied: bool = True,
) -> AppendBatch:
    """Make a batch of events of one tenant."""
    ids = list(ids)
    events = [event(one, tenant, text=text, stamp=stamp) for one in ids]
    return AppendBatch(events, ids, [tenant] * len(ids), list(range(len(ids))) if supplied else [])


def events_of(journal: Journal, start: int = 1) -> list[bytes]:
    """Read everything from `start` on, a little at a time."""
    found: list[bytes] = []
    while blocks := journal.read(start, 1):
        for block in blocks:
            found += block.events[max(start - block.first, 0) :]
            start = block.end
    return found


class JournalContract:
    """What every journal does."""

    @abstractmethod
    def make(
        self,
        *,
        max_size: int = PLENTY,
        retention: float = DAY,
        dedup_window: float = DAY,
        clock: Callable[[], float] = Clock(),  # noqa: B008 - it stands still
    ) -> Journal:
        """Make an empty journal. It is closed by the suite."""

    async def test_numbers_start_at_one_and_have_no_gaps(self) -> None:
        """J2."""
        journal = self.make()
        assert (journal.head(), journal.oldest()) == (1, 1)
        for count in (3, 1, 5):
            assert await journal.append(batch(new_ids(count))) == Appended()
        assert (journal.head(), journal.oldest()) == (10, 1)
        spans = [(block.first, block.end) for block in journal.read(1, PLENTY)]
        assert [first for first, _ in spans] == [1, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == journal.head()
        journal.close()

    async def test_events_are_read_back_byte_for_byte_and_in_order(self) -> None:
        """What was accepted is what is read."""
        journal = self.make()
        batches = [batch(new_ids(count), text="grüße 🎉 \\ \u2028" * count) for count in (1, 7, 300)]
        for one in batches:
            await journal.append(one)
        assert events_of(journal) == [text for one in batches for text in one.events]
        journal.close()

    async def test_an_empty_batch_changes_nothing(self) -> None:
        """Nothing to store is no block."""
        journal = self.make()
        assert await journal.append(AppendBatch([], [], [])) == Appended()
        assert (journal.head(), journal.read(1, PLENTY)) == (1, [])
        journal.close()

    async def test_a_block_says_when_whose_and_how_many(self) -> None:
        """J7."""
        clock = Clock()
        journal = self.make(clock=clock)
        one, two = batch(new_ids(2), "acme"), batch(new_ids(3))
        await journal.append(
            AppendBatch(one.events + two.events, one.ids + two.ids, one.tenants + two.tenants)
        )
        (block,) = journal.read(1, PLENTY)
        assert (block.first, block.count, block.end, block.damage) == (1, 5, 6, "")
        assert block.appended_at == clock.milliseconds
        assert dict(block.tenants) == {"acme": 2, PLATFORM_TENANT: 3}
        assert (journal.appended_at(5), journal.appended_at(6)) == (clock.milliseconds, None)
        journal.close()

    async def test_events_are_found_by_the_time_they_were_accepted(self) -> None:
        """From the first to the last of the blocks of that time."""
        clock = Clock()
        journal = self.make(clock=clock)
        assert not journal.between(0, 2**60)
        start = clock.milliseconds
        for count in (2, 3, 4):
            await journal.append(batch(new_ids(count)))
            clock.now += 1
        found = [
            journal.between(since, until)
            for since, until in ((start, start + 3000), (start + 1, start + 2000), (start + 2001, 2**60))
        ]
        assert found == [range(1, 10), range(3, 6), range(0)]
        journal.close()

    async def test_reading_begins_with_the_block_that_holds_the_number_and_stops_at_the_size(self) -> None:
        """Reads are bounded by bytes, never empty before the head."""
        journal = self.make()
        for _ in range(4):
            await journal.append(batch(new_ids(10), text="x" * 100))
        assert [block.first for block in journal.read(15, 1)] == [11]
        size = sum(map(len, journal.read(1, 1)[0].events))
        assert [block.first for block in journal.read(20, size + 1)] == [11, 21]
        assert journal.read(journal.head(), PLENTY) == []
        assert journal.read(journal.head() + 100, PLENTY) == []
        journal.close()

    async def test_a_large_batch_is_read_in_bounded_pieces(self) -> None:
        """No block is larger than a reader can take."""
        journal = self.make()
        ids = new_ids(25_000)
        await journal.append(batch(ids, supplied=False))
        large = batch(new_ids(6), text="y" * 1_500_000)
        await journal.append(large)
        blocks = journal.read(1, PLENTY)
        assert max(block.count for block in blocks) <= 10_000
        assert max(sum(map(len, block.events)) for block in blocks) <= 4 * 2**20
        assert events_of(journal, 25_001) == large.events
        journal.close()

    async def test_a_repeat_is_reported_with_the_first_sequence(self) -> None:
        """J3; what the server stamps does not make an event another one."""
        journal = self.make()
        ids = new_ids(3)
        await journal.append(batch(new_ids(5)))
        await journal.append(batch(ids))
        fresh = new_ids(1)
        answer = await journal.append(batch([ids[2], *fresh, ids[0]], stamp="13:00:00"))
        assert answer == Appended(duplicates={0: 8, 2: 6})
        assert events_of(journal, 9) == [event(fresh[0], stamp="13:00:00")]
        journal.close()

    async def test_the_same_id_with_other_content_is_a_conflict_and_not_stored(self) -> None:
        """J3."""
        journal = self.make()
        (event_id,) = new_ids(1)
        await journal.append(batch([event_id], text="one"))
        assert await journal.append(batch([event_id], text="two")) == Appended(conflicts=[0])
        assert await journal.append(batch([event_id], text="one")) == Appended(duplicates={0: 1})
        assert journal.head() == 2
        journal.close()

    async def test_two_tenants_may_use_one_id(self) -> None:
        """An id is unique per tenant."""
        journal = self.make()
        (event_id,) = new_ids(1)
        for tenant in ("acme", "globex", PLATFORM_TENANT):
            assert await journal.append(batch([event_id], tenant, text=tenant)) == Appended()
        for sequence, tenant in enumerate(("acme", "globex", PLATFORM_TENANT), 1):
            assert await journal.append(batch([event_id], tenant, text=tenant)) == Appended(
                duplicates={0: sequence}
            )
            assert await journal.append(batch([event_id], tenant, text="other")) == Appended(conflicts=[0])
        journal.close()

    async def test_two_tenants_may_use_one_id_in_one_batch(self) -> None:
        """Tenants that share a block are told apart."""
        journal = self.make()
        ids = new_ids(2)
        one, two = batch(ids, "acme"), batch(ids, "globex")
        both = AppendBatch(
            one.events + two.events, one.ids + two.ids, one.tenants + two.tenants, [0, 1, 2, 3]
        )
        assert await journal.append(both) == Appended()
        assert await journal.append(both) == Appended(duplicates={0: 1, 1: 2, 2: 3, 3: 4})
        journal.close()

    async def test_repeats_inside_a_batch_are_found(self) -> None:
        """The first of them is stored."""
        journal = self.make()
        one, two = new_ids(2)
        events = [event(one), event(two), event(one, stamp="13:00:00"), event(two, text="other")]
        answer = await journal.append(
            AppendBatch(events, [one, two, one, two], [PLATFORM_TENANT] * 4, [0, 1, 2, 3])
        )
        assert answer == Appended(duplicates={2: 1}, conflicts=[3])
        assert events_of(journal) == events[:2]
        journal.close()

    async def test_repeats_between_concurrent_appends_are_found(self) -> None:
        """Batches of one commit are compared with each other."""
        journal = self.make()
        ids = new_ids(10)
        answers = await asyncio.gather(
            *(journal.append(batch(ids[i : i + 5])) for i in (0, 5, 2)), journal.append(batch(ids))
        )
        places = {line: number for number, line in enumerate(events_of(journal), 1)}
        assert journal.head() == 11
        assert answers[3] == Appended(duplicates={i: places[event(one)] for i, one in enumerate(ids)})
        assert sum(len(answer.duplicates) for answer in answers) == 15
        journal.close()

    async def test_only_supplied_ids_are_checked(self) -> None:
        """Ids that the server assigns are unique; the check is not spent on them."""
        journal = self.make()
        ids = new_ids(2)
        await journal.append(batch(ids, supplied=False))
        assert await journal.append(batch(ids)) == Appended(duplicates={0: 1, 1: 2})
        journal.close()

    async def test_an_event_is_found_by_its_id(self) -> None:
        """Whoever chose the id, whichever tenant used it, newest first; as long as the window reaches."""
        clock = Clock()
        journal = self.make(dedup_window=DAY, clock=clock)
        ids = new_ids(3)
        await journal.append(batch(ids))
        await journal.append(batch([ids[1]], "acme"))
        await journal.append(batch(assigned := new_ids(1), supplied=False))
        found = [list(journal.find(one)) for one in (*ids, *assigned, *new_ids(1))]
        assert found == [[1], [4, 2], [3], [5], []]
        clock.now += DAY + 1
        assert list(journal.find(ids[0])) == []
        journal.close()

    async def test_an_id_is_forgotten_when_it_leaves_the_window(self) -> None:
        """Remembered through the whole window, with traffic all along, and not beyond."""
        clock = Clock()
        journal = self.make(dedup_window=1000, clock=clock)
        first = new_ids(1)
        await journal.append(batch(first))
        for _ in range(9):
            clock.now += 110
            assert await journal.append(batch(new_ids(3))) == Appended()
            assert await journal.append(batch(first)) == Appended(duplicates={0: 1})
        clock.now += 20
        head = journal.head()
        assert await journal.append(batch(first)) == Appended()
        assert await journal.append(batch(first)) == Appended(duplicates={0: head})
        journal.close()

    async def test_an_evicted_event_is_still_known(self) -> None:
        """The window may be longer than retention; what cannot be compared any more counts as the same."""
        clock = Clock()
        journal = self.make(retention=10, dedup_window=1000, clock=clock)
        ids = new_ids(3)
        await journal.append(batch(ids))
        clock.now += 20
        assert journal.evict(4, clock.milliseconds) > 0
        assert await journal.append(batch(ids)) == Appended(duplicates={0: 1, 1: 2, 2: 3})
        journal.close()

    async def test_eviction_spares_what_is_unfinished_or_young(self) -> None:
        """J6."""
        clock = Clock()
        journal = self.make(retention=100, clock=clock)
        for _ in range(4):
            await journal.append(batch(new_ids(10)))
            clock.now += 40
        assert journal.evict(1, clock.milliseconds) == 0
        assert journal.evict(20, clock.milliseconds) == 1  # the second block is not finished to its end
        assert journal.evict(41, clock.milliseconds) == 1  # the third is younger than 100 s
        assert (journal.oldest(), journal.head()) == (21, 41)
        assert [block.first for block in journal.read(1, PLENTY)] == [21, 31]
        clock.now += 1000
        assert journal.evict(41, clock.milliseconds) == 2
        assert (journal.oldest(), journal.head(), journal.read(1, PLENTY)) == (41, 41, [])
        assert await journal.append(batch(new_ids(1))) == Appended()
        assert journal.read(1, PLENTY)[0].first == 41
        journal.close()

    async def test_a_full_journal_refuses_and_keeps_what_it_has(self) -> None:
        """J6: what is unfinished is never evicted, nothing of a refused batch is stored or remembered."""
        journal = self.make(max_size=600_000)
        head, refused = await self._fill(journal)
        assert journal.size() <= 600_000
        assert journal.head() == head
        assert len(events_of(journal)) == head - 1
        journal.evict(head // 2, 0)
        assert await journal.append(refused) == Appended()
        assert journal.read(1, 1)[0].first > 1
        assert events_of(journal, head) == refused.events
        journal.close()

    async def test_a_full_journal_evicts_finished_blocks_inside_retention(self) -> None:
        """J6: with pipelines that keep up, appending never stops."""
        journal = self.make(max_size=600_000)
        for _ in range(60):
            await journal.append(_bulk())
            journal.evict(journal.head(), 0)
            assert journal.size() <= 600_000
        assert journal.head() == 60 * 20 + 1
        assert 1 < journal.oldest() < journal.head()
        journal.close()

    async def test_blocks_of_other_tenants_come_without_events(self) -> None:
        """J7: they need not be decoded."""
        journal = self.make()
        for tenants in (["a", "a"], ["b", "a", "b"], ["a"], ["b"]):
            ids = new_ids(len(tenants))
            await journal.append(AppendBatch([event(each) for each in ids], ids, tenants))
        found = journal.read(2, PLENTY, "b")
        assert [(block.first, block.count, len(block.events)) for block in found] == [
            (1, 2, 0),
            (3, 3, 3),
            (6, 1, 0),
            (7, 1, 1),
        ]
        assert [dict(block.tenants) for block in found] == [{"a": 2}, {"b": 2, "a": 1}, {"a": 1}, {"b": 1}]
        journal.close()

    async def test_what_nobody_awaits_leaves_blocks_that_somebody_else_awaits(self) -> None:
        """J6: one tenant's backlog does not hold the events of the others."""
        journal = self.make()
        bulk = [_bulk(tenant) for tenant in ("a", "b", "a")]
        for one, two in ((bulk[0], bulk[1]), (bulk[2], batch(()))):
            await journal.append(
                AppendBatch(one.events + two.events, one.ids + two.ids, one.tenants + two.tenants)
            )
        finished = {"a": 1, "b": 41}
        held = journal.held(finished)
        assert held.keys() == {"a"}
        assert journal.held({"b": 1}).keys() == {"b"}
        assert journal.thin({"a": 1, "b": 40}) is False, "b is not finished at the end of the block"
        assert journal.thin({"": 1, "b": 41}) is False, "somebody gets everybody's events"
        while journal.thin(finished):
            pass
        first, second = journal.read(1, PLENTY)
        assert (first.first, first.end, second.end) == (1, 41, 61)
        assert list(first.events) == bulk[0].events + [b""] * 20
        assert dict(first.tenants) == {"a": 20, GONE + "b": 20}
        assert list(second.events) == bulk[2].events
        assert [len(block.events) for block in journal.read(1, PLENTY, "b")] == [0, 0]
        assert journal.held(finished).keys() == {"a"}
        assert journal.thin(finished) is False
        journal.close()

    async def test_what_has_left_a_block_is_still_known(self) -> None:
        """J3: its id and its tenant stay."""
        journal = self.make()
        ids = new_ids(2)
        both = AppendBatch(
            [event(ids[0], "a"), event(ids[1], "b")], ids, ["a", "b"], supplied=[0, 1], times=[7, 8]
        )
        await journal.append(both)
        assert journal.thin({"a": 1}) is True
        (block,) = journal.read(1, PLENTY)
        assert list(block.times) == [7, 8]
        assert await journal.append(both) == Appended(duplicates={0: 1, 1: 2})
        others = AppendBatch([event(ids[1], "a")], [ids[1]], ["a"], supplied=[0])
        assert await journal.append(others) == Appended()
        journal.close()

    async def test_headers_say_whose_events_are_where(self) -> None:
        """J7: without the events themselves."""
        journal = self.make()
        for tenants in (["a", "a"], ["b", "a"], ["c"]):
            ids = new_ids(len(tenants))
            await journal.append(AppendBatch([event(each) for each in ids], ids, tenants))
        headers = [(block.first, dict(block.tenants), len(block.events)) for block in journal.headers(2, 2)]
        assert headers == [(1, {"a": 2}, 0), (3, {"b": 1, "a": 1}, 0)]
        assert [block.first for block in journal.headers(3, 9)] == [3, 5]
        assert journal.headers(6, 9) == []
        journal.close()

    async def test_a_closed_journal_refuses(self) -> None:
        """Nobody waits forever."""
        journal = self.make()
        journal.close()
        assert isinstance(await _failure(journal, batch(new_ids(1))), JournalUnavailable)

    async def _fill(self, journal: Journal) -> tuple[int, AppendBatch]:
        while True:
            offered = _bulk()
            head = journal.head()
            failure = await _failure(journal, offered)
            if failure is not None:
                assert isinstance(failure, JournalFull)
                assert "KiB" in str(failure)
                return head, offered


def _bulk(tenant: str = PLATFORM_TENANT) -> AppendBatch:
    """Make 20 KiB of events that do not compress."""
    ids = new_ids(20)
    events = [event(one, tenant, text="".join(new_ids(24))) for one in ids]
    return AppendBatch(events, ids, [tenant] * 20, list(range(20)))


async def _failure(journal: Journal, offered: AppendBatch) -> Exception | None:
    try:
        await journal.append(offered)
    except (JournalFull, JournalUnavailable) as error:
        return error
    return None


__all__: Sequence[str] = (
    "Clock",
    "JournalContract",
    "batch",
    "event",
    "events_of",
    "new_ids",
)
