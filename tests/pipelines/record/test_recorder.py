"""What became of events is written once, whole, and again after the disk refused."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.ledger import Account, DeadLetter, Progress, Replayed, Update
from auditflow.ledger.memory import MemoryLedger
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.pipelines.deliver.pause_gate import PauseGate, Stopped
from auditflow.pipelines.record import recorder as module
from auditflow.pipelines.record.recorder import Recorder

UNAVAILABLE = JournalUnavailable(path="ledger.db", reason="disk full")


class FailingLedger(MemoryLedger):
    """Raises what `on_commit` and `on_note` are set to; `gate` holds commits."""

    def __init__(self) -> None:
        super().__init__()
        self.register(["p", "q"], 1, 1)
        self.on_commit: Exception | None = None
        self.on_note: Exception | None = None
        self.commits: list[list[str]] = []
        self.notes: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def commit(
        self, updates: Sequence[Update], replayed: Replayed | None = None, token: bytes | None = None
    ) -> None:
        self.commits.append([update.pipeline for update in updates])
        self.gate.wait(5)
        if self.on_commit:
            raise self.on_commit
        super().commit(updates, replayed, token)

    def note(self, conditions: Mapping[str, str]) -> None:
        self.notes += conditions.items()
        if self.on_note:
            raise self.on_note
        super().note(conditions)

    def account(self, pipeline: str = "p") -> Account:
        return next(account for account in self.accounts() if account.pipeline == pipeline)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


@pytest.fixture
def ledger() -> FailingLedger:
    return FailingLedger()


@pytest.fixture
def recorder(ledger: FailingLedger) -> Recorder:
    return Recorder(ledger)


@contextlib.asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[None]:
    job = asyncio.create_task(recorder.run())
    yield
    recorder.stop()
    await asyncio.wait_for(job, 60)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread changes what is awaited
            await asyncio.sleep(0.001)


def progress_to(low: int) -> Progress:
    return Progress(low)


async def test_changes_of_all_pipelines_share_a_transaction(recorder, ledger):
    recorder.add(Update("p", progress_to(3), delivered=1, attempts=1))
    recorder.add(Update("q", progress_to(2), filtered=1))
    recorder.add(Update("p", progress_to(3), delivered=1, attempts=1, duplicates=1))
    async with running(recorder):
        pass
    assert ledger.commits == [["p", "q"]]
    account = ledger.account()
    assert (account.delivered, account.attempts, account.duplicates) == (2, 2, 1)
    assert ledger.account("q").filtered == 1


async def test_it_goes_on_after_each_commit_and_gathers_what_comes_meanwhile(recorder, ledger, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.05)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600)
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1))
        await until(lambda: ledger.account().delivered == 1)
        for low in range(3, 8):
            recorder.add(Update("p", progress_to(low), delivered=1))
            await asyncio.sleep(0)
        await until(lambda: ledger.account().delivered == 6)
    assert len(ledger.commits) == 2


async def test_the_progress_written_is_the_one_at_the_commit_not_one_of_later(recorder, ledger):
    progress = Progress(1)
    ledger.gate.clear()
    async with running(recorder):
        progress.finish(1)
        recorder.add(Update("p", progress, delivered=1))
        await until(lambda: bool(ledger.commits))
        progress.finish(2)
        ledger.gate.set()
        await until(lambda: ledger.account().delivered == 1)
        assert ledger.account().progress.low == 2


async def test_what_could_not_be_written_is_written_later_once_with_what_came_meanwhile(
    recorder, ledger, caplog
):
    ledger.on_commit = UNAVAILABLE
    progress = Progress(1)
    async with running(recorder):
        progress.finish(1, 2)
        recorder.add(
            Update(
                "p",
                progress,
                delivered=1,
                filtered=0,
                attempts=2,
                duplicates=3,
                letters=[DeadLetter("p", 2, "Bad", "")],
            )
        )
        recorder.note("p", '{"n":1}')
        await until(lambda: not recorder.writable())
        progress.finish(3, 2)
        recorder.add(Update("p", progress, delivered=1, filtered=1, letters=[DeadLetter("p", 4, "Bad", "")]))
        recorder.note("q", '{"n":2}')
        ledger.on_commit = None
        await until(recorder.writable)
    account = ledger.account()
    assert (account.delivered, account.filtered, account.attempts, account.duplicates) == (2, 1, 2, 3)
    assert account.dead_lettered == 2
    assert sorted(letter.sequence for letter in ledger.dead_letters()) == [2, 4]
    assert account.progress == Progress(5)
    assert (account.condition, ledger.account("q").condition) == ('{"n":1}', '{"n":2}')
    assert "disk full" in caplog.text


async def test_a_note_that_fails_does_not_count_the_changes_before_it_twice(recorder, ledger):
    ledger.on_note = UNAVAILABLE
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1, letters=[DeadLetter("p", 1, "Bad", "")]))
        recorder.note("p", '{"n":1}')
        await until(lambda: not recorder.writable())
        ledger.on_note = None
        await until(recorder.writable)
    assert (ledger.account().delivered, len(ledger.dead_letters())) == (1, 1)
    assert ledger.account().condition == '{"n":1}'


async def test_a_newer_note_replaces_one_that_could_not_be_written(recorder, ledger):
    ledger.on_note = UNAVAILABLE
    recorder.note("p", '{"n":1}')
    async with running(recorder):
        await until(lambda: not recorder.writable())
        recorder.note("p", '{"n":2}')
        ledger.on_note = None
        await until(recorder.writable)
    assert ledger.account().condition == '{"n":2}'
    assert ledger.notes[-1] == ("p", '{"n":2}')


async def test_while_the_disk_refuses_it_tries_with_pauses(recorder, ledger, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    ledger.on_commit = UNAVAILABLE
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1))
        await asyncio.sleep(0.12)
        assert 2 <= len(ledger.commits) <= 3
        ledger.on_commit = None


async def test_a_stop_while_the_disk_refuses_tries_once_more_and_ends(recorder, ledger):
    ledger.on_commit = UNAVAILABLE
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1))
        await until(lambda: not recorder.writable())
    assert ledger.account().delivered == 0


async def test_a_stop_writes_what_is_left_first(recorder, ledger):
    async with running(recorder):
        await asyncio.sleep(0)
        recorder.add(Update("p", progress_to(2), delivered=1))
        recorder.note("q", '{"n":1}')
    assert ledger.account().delivered == 1
    assert ledger.account("q").condition == '{"n":1}'


async def test_without_changes_nothing_is_written_and_a_stop_ends_it(recorder, ledger, monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.001)
    rounds = []
    commit = recorder._commit

    async def counted() -> bool:
        rounds.append(1)
        return await commit()

    monkeypatch.setattr(recorder, "_commit", counted)
    async with running(recorder):
        await asyncio.sleep(0.05)
        assert rounds == []
    assert (ledger.commits, ledger.notes) == ([], [])


async def test_a_note_that_comes_during_the_last_commit_is_written_too(recorder, ledger):
    ledger.gate.clear()
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1))
        await until(lambda: bool(ledger.commits))
        recorder.stop()
        recorder.note("q", '{"n":1}')
        ledger.gate.set()
    assert ledger.account("q").condition == '{"n":1}'


async def test_notes_alone_make_no_commit(recorder, ledger):
    async with running(recorder):
        recorder.note("p", '{"n":1}')
        await until(lambda: bool(ledger.notes))
    assert ledger.commits == []


async def test_damage_ends_it_and_whoever_wants_to_deliver_hears_of_it(recorder, ledger):
    ledger.on_commit = JournalDamaged(path="ledger.db", reason="checksum")
    assert recorder.writable()
    recorder.add(Update("p", progress_to(2), delivered=1))
    with pytest.raises(JournalDamaged):
        await asyncio.wait_for(recorder.run(), 60)
    with pytest.raises(JournalDamaged):
        recorder.writable()


async def test_commits_wait_for_no_thread_that_others_hold(recorder, ledger):
    release = threading.Event()
    held = [asyncio.create_task(asyncio.to_thread(release.wait, 5)) for _ in range(64)]
    try:
        async with running(recorder):
            recorder.add(Update("p", progress_to(2), delivered=1))
            await until(lambda: ledger.account().delivered == 1)
    finally:
        release.set()
        await asyncio.gather(*held)
    assert ledger.account().delivered == 1


async def test_it_works_on_a_real_ledger(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.register(["p"], 1, 1)
    recorder = Recorder(ledger)
    async with running(recorder):
        recorder.add(Update("p", progress_to(3), delivered=2, attempts=1))
        recorder.note("p", '{"state":"active"}')
    (account,) = ledger.accounts()
    ledger.close()
    assert (account.delivered, account.progress, account.condition) == (2, Progress(3), '{"state":"active"}')


async def test_who_waits_for_what_was_added_does_not_wait_for_what_others_add_later(recorder, ledger):
    gate = PauseGate()
    async with running(recorder):
        await asyncio.wait_for(recorder.written(gate), 60)
        ledger.gate.clear()
        recorder.add(Update("p", progress_to(2), delivered=1))
        await until(lambda: bool(ledger.commits))
        waiting = asyncio.create_task(recorder.written(gate))
        await asyncio.sleep(0)
        for low in range(3, 6):
            recorder.add(Update("q", progress_to(low), delivered=1))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        ledger.on_commit = None
        ledger.gate.set()
        await until(lambda: ledger.account().delivered == 1)
        ledger.gate.clear()
        await asyncio.wait_for(waiting, 60)
        gate.stop()
        with pytest.raises(Stopped):
            await recorder.written(gate)
        ledger.gate.set()


async def test_a_commit_that_was_made_although_it_seemed_to_fail_counts_once(recorder, ledger, monkeypatch):
    commit, faults = MemoryLedger.commit, [UNAVAILABLE, UNAVAILABLE]

    def persists(*arguments: object) -> None:
        commit(*arguments)
        if faults:
            raise faults.pop()

    monkeypatch.setattr(MemoryLedger, "commit", persists)
    async with running(recorder):
        recorder.add(Update("p", progress_to(2), delivered=1, letters=[DeadLetter("p", 1, "Bad", "")]))
        await until(lambda: not recorder.writable())
        recorder.add(Update("p", progress_to(3), delivered=1))
        await until(lambda: ledger.account().progress.low == 3)
    assert (ledger.account().delivered, len(ledger.dead_letters())) == (2, 1)
