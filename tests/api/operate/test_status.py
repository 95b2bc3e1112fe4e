import json
import uuid

import pytest

from auditflow.api.operate.status import Status
from auditflow.journal import AppendBatch
from auditflow.journal.group_commit import GroupCommit
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Account, DeadLetter, Progress, Update
from auditflow.ledger.memory import MemoryLedger

NOW = 1_000_000.0


async def append(journal: MemoryJournal, count: int) -> None:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    await journal.append(AppendBatch([b"{}"] * count, ids, [""] * count))


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(clock=lambda: NOW)


@pytest.fixture
def ledger(journal: MemoryJournal) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["logins", "all"], journal.head(), journal.oldest())
    return ledger


def status(journal: MemoryJournal, ledger: MemoryLedger, later: float = 0.0) -> Status:
    return Status(journal, ledger, lambda: NOW + later)


def finish(ledger: MemoryLedger, pipeline: str, first: int, count: int, **counts: int) -> None:
    (progress,) = [a.progress for a in ledger.accounts() if a.pipeline == pipeline]
    progress.finish(first, count)
    ledger.commit([Update(pipeline, progress, **counts)])


async def test_the_counts_of_every_pipeline_balance(journal, ledger):
    await append(journal, 10)
    finish(ledger, "all", 1, 3, delivered=3, attempts=1)
    finish(ledger, "all", 6, 2, filtered=2)
    letter = DeadLetter("all", 9, "TOO_LARGE", "It is too large")
    progress = Progress(4, 0b1101100 >> 1)
    ledger.commit([Update("all", progress, letters=[letter], duplicates=1)])
    every, logins = status(journal, ledger).pipelines()
    assert (every["accepted"], every["delivered"], every["filtered"], every["deadLettered"]) == (10, 3, 2, 1)
    assert (every["attempts"], every["possibleDuplicates"]) == (1, 1)
    assert (logins["accepted"], logins["delivered"], logins["pending"]) == (10, 0, 10)


async def test_what_is_finished_out_of_order_is_not_pending(journal, ledger):
    await append(journal, 10)
    finish(ledger, "all", 5, 4, delivered=4)
    (every, _) = status(journal, ledger).pipelines()
    assert every["accepted"] == every["delivered"] + every["pending"] == 10


async def test_a_reading_balances_though_events_come_and_go_between_its_two_halves(journal, ledger):
    """Whichever store is read first, one event is accepted and delivered before the other one is read."""
    raced = False

    def race() -> None:
        nonlocal raced
        if not raced:
            raced = True
            group = GroupCommit(1, journal, int(NOW * 1000))
            group.add(AppendBatch([b"{}"], ["k"], [""]), [b"k"])
            journal._store(group, slice(None), int(NOW * 1000))
            finish(ledger, "all", 1, 1, delivered=1)

    class RacingJournal(MemoryJournal):
        def head(self) -> int:
            head = journal.head()
            race()
            return head

    class RacingLedger(MemoryLedger):
        def accounts(self) -> list[Account]:
            accounts = ledger.accounts()
            race()
            return accounts

    (every, _) = status(RacingJournal(), RacingLedger()).pipelines()
    assert raced
    assert every["pending"] >= 0
    assert every["accepted"] == every["delivered"] + every["pending"]


async def test_the_age_is_that_of_the_oldest_pending_event(journal, ledger):
    await append(journal, 2)
    finish(ledger, "all", 1, 2, delivered=2)
    every, logins = status(journal, ledger, later=90.5).pipelines()
    assert (every["oldestPendingAgeSeconds"], logins["oldestPendingAgeSeconds"]) == (0, 90.5)


async def test_pipelines_come_by_name_and_inactive_ones_are_left_out(journal, ledger):
    ledger.register(["zeta", "logins"], journal.head(), journal.oldest())
    assert [row["name"] for row in status(journal, ledger).pipelines()] == ["logins", "zeta"]


@pytest.mark.parametrize("state", ["active", "retrying", "blocked", "paused"])
async def test_each_state_is_shown_with_its_error(journal, ledger, state):
    error = {"code": "AccessDenied", "message": "No", "hint": "Allow it"}
    ledger.note({"all": json.dumps({"state": state, "since": "2026-01-01T00:00:00Z", "lastError": error})})
    every, logins = status(journal, ledger).pipelines()
    assert (every["state"], every["since"], every["lastError"]) == (state, "2026-01-01T00:00:00Z", error)
    assert (logins["state"], logins["lastError"]) == ("active", None)


async def test_damage_of_either_store_is_an_incident(journal, ledger, monkeypatch):
    monkeypatch.setattr(journal, "incidents", lambda: ["3 events were lost."])
    monkeypatch.setattr(ledger, "incidents", lambda: ["The ledger was made again."])
    await append(journal, 3)
    assert status(journal, ledger).journal() == {
        "head": 4,
        "oldest": 1,
        "bytes": 6,
        "incidents": ["3 events were lost.", "The ledger was made again."],
    }
