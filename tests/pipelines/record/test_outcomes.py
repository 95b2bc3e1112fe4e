"""Progress, counters, dead letters and visible condition of a pipeline change together and stay true."""

from __future__ import annotations

import json

import pytest

from auditflow.ledger import LOST, Account, DeadLetter, Progress
from auditflow.ledger.memory import MemoryLedger
from auditflow.pipelines.decide.decision import Decided
from auditflow.pipelines.deliver.outcome_log import Delivered, Settlement
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.sinks._base import Outcome, Verdict

RETRY = Outcome(Verdict.RETRY, "Throttled", "too fast")
BLOCKED = Outcome(Verdict.BLOCKED, "AccessDenied", "not allowed", "add the permission")


class Books:
    """A record whose changes can be written to a ledger at once."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.ledger = MemoryLedger()
        self.ledger.register(["p"], 1, 1)
        self.recorder = Recorder(self.ledger)
        self.now = 1000.0
        self.record = PipelineOutcomes("p", progress or Progress(1), self.recorder, lambda: self.now)
        self.notes: list[dict] = []
        self.recorder.note = lambda _, text: self.notes.append(json.loads(text))

    async def written(self) -> Account:
        assert await self.recorder._commit()
        (account,) = self.ledger.accounts()
        return account


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.mark.parametrize(
    ("asked", "still_open"),
    [
        (range(10, 20), range(10, 20)),
        (range(5, 10), []),
        (range(8, 12), [10, 11]),
    ],
)
def test_events_below_the_position_are_not_open(asked: range, still_open: list[int]):
    assert Books(Progress(10)).record.progress.unfinished(asked) == still_open


def test_events_finished_beyond_the_position_are_not_open():
    record = Books(Progress(10, 0b1010)).record
    assert record.progress.unfinished(range(10, 16)) == [10, 12, 14, 15]
    assert record.progress.unfinished(range(14, 16)) == range(14, 16)
    assert record.progress.unfinished(range(13, 16)) == [14, 15]


async def test_delivered_events_are_counted_whatever_their_order(books):
    books.record.settled(
        Settlement(
            2,
            1,
            3,
            [Delivered({"at": "x"}, [5, 1], owed=False), Delivered({"at": "y"}, [2, 4], owed=False)],
            [],
        )
    )
    account = await books.written()
    assert (account.delivered, account.attempts, account.duplicates) == (4, 1, 3)
    assert account.progress == Progress(3, 0b110)


async def test_a_call_that_brought_nothing_to_an_end_counts_as_attempt(books):
    books.record.settled(Settlement(1, 1, 0, [], []))
    account = await books.written()
    assert (account.delivered, account.attempts, account.progress) == (0, 1, Progress(1))


async def test_letters_end_their_events(books):
    books.record.settled(
        Settlement(
            1, 1, 0, [Delivered({}, [2], owed=False)], [books.record.letter(1, "Bad", "cannot be", b"{}")]
        )
    )
    account = await books.written()
    assert (account.dead_lettered, account.progress) == (1, Progress(3))


async def test_filtered_and_failed_events_end_here(books):
    books.record.decided(
        4, range(1, 4), Decided([], [], [], filtered=[1, 3], failed=[(2, b"{}", "ValueError: x")])
    )
    account = await books.written()
    assert (account.filtered, account.dead_lettered, account.attempts) == (2, 1, 0)
    assert account.progress == Progress(4)
    (letter,) = books.ledger.dead_letters()
    assert letter == DeadLetter(
        "p",
        2,
        "TRANSFORM_FAILED",
        "ValueError: x",
        b"{}",
        first_failed=1_000_000,
        last_failed=1_000_000,
        tenant="_platform",
        id=1,
    )


async def test_when_everything_goes_to_the_sink_there_is_nothing_to_write(books):
    books.record.decided(4, range(1, 4), Decided([1], [b"{}"], [b"{}"]))
    books.record.lost(1, range(1, 1), "gone")
    assert books.recorder._updates == {}


async def test_lost_events_become_one_letter_for_each_unbroken_run():
    books = Books(Progress(1, 0b1100))
    books.record.lost(9, range(1, 9), "gone")
    account = await books.written()
    assert [(one.code, one.reason, one.sequence, one.count) for one in books.ledger.dead_letters()] == [
        (LOST, "gone", 1, 2),
        (LOST, "gone", 5, 4),
    ]
    assert account.dead_lettered == 6
    assert account.progress == Progress(9)


async def test_every_delivered_event_has_a_receipt(books):
    books.record.settled(
        Settlement(
            2, 1, 0, [Delivered({"at": "x"}, [5, 1], owed=False), Delivered({"at": "y"}, [2], owed=False)], []
        )
    )
    await books.written()
    found = [books.ledger.receipt_of("p", number) for number in (1, 2, 3, 5)]
    assert [one and (one.place, one.attempts, one.at) for one in found] == [
        ('{"at":"x"}', 2, 1_000_000),
        ('{"at":"y"}', 2, 1_000_000),
        None,
        ('{"at":"x"}', 2, 1_000_000),
    ]


def test_a_letter_says_when_it_failed_first_and_last(books):
    letter = books.record.letter(7, "Bad", "cannot be", b"{}", attempts=3, first_failed=5)
    assert (letter.attempts, letter.first_failed, letter.last_failed) == (3, 5, 1_000_000)
    assert (letter.pipeline, letter.event, letter.count) == ("p", b"{}", 1)


def test_a_letter_names_tenant_and_event_where_it_can(books):
    named = books.record.letter(1, "Bad", "no", b'{"eventId":"i","tenantId":"acme"}')
    unread = books.record.letter(2, "Bad", "no", b"no event")
    lost = books.record.letter(3, LOST, "gone", count=7)
    assert [(one.tenant, one.event_id) for one in (named, unread, lost)] == [
        ("acme", "i"),
        ("", ""),
        ("", ""),
    ]


def test_the_worst_of_several_problems_is_shown(books):
    books.record.problem("one batch", RETRY)
    books.record.problem("another", BLOCKED)
    books.record.problem("a third", RETRY)
    books.record.problem("another", None)
    books.record.problem("one batch", None)
    books.record.problem("a third", None)
    assert [note["state"] for note in books.notes] == ["retrying", "blocked", "retrying", "active"]


def test_the_condition_is_noted_when_it_changes_only(books):
    for problem in (None, None, RETRY, RETRY, BLOCKED, None):
        books.now += 1
        books.record.problem("a batch", problem)
    assert [note["state"] for note in books.notes] == ["active", "retrying", "blocked", "active"]
    assert [note["since"] for note in books.notes] == [1_001_000, 1_003_000, 1_005_000, 1_006_000]


def test_another_cause_of_the_same_state_is_noted(books):
    books.record.problem("a batch", RETRY)
    books.record.problem("a batch", Outcome(Verdict.RETRY, "Timeout"))
    assert [note["lastError"]["code"] for note in books.notes] == ["Throttled", "Timeout"]


def test_the_last_error_stays_to_be_seen_after_recovery(books):
    books.record.problem("a batch", None)
    books.record.problem("a batch", BLOCKED)
    books.now += 60
    books.record.problem("a batch", None)
    assert books.notes[0]["lastError"] is None
    assert (
        books.notes[1]["lastError"]
        == books.notes[2]["lastError"]
        == {
            "code": "AccessDenied",
            "message": "not allowed",
            "hint": "add the permission",
            "at": 1_000_000,
        }
    )
