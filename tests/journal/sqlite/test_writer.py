# ruff: noqa: ASYNC240 - a test may block its event loop
"""The SQLite journal: the contract, and what only a file can show."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from auditflow.errors import DataDirectoryUnusable, JournalDamaged, JournalUnavailable
from auditflow.journal import Appended
from auditflow.journal.block_format import encode_ids
from auditflow.journal.sqlite import id_lookup as lookup
from auditflow.journal.sqlite import writer as module
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.testing.contracts.journal import DAY, PLENTY, Clock, JournalContract, batch, events_of, new_ids


def journal_at(path: Path, **settings) -> SqliteJournal:
    return SqliteJournal(path, **({"max_size": PLENTY, "retention": DAY, "dedup_window": DAY} | settings))


class TestSqliteJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "data" / "journal.db"

    def make(self, **settings) -> SqliteJournal:
        return journal_at(self.path, **settings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_appends_that_wait_together_share_one_block(path: Path):
    journal = journal_at(path)
    await asyncio.gather(*(journal.append(batch(new_ids(2))) for _ in range(50)))
    assert [(block.first, block.count) for block in journal.read(1, PLENTY)] == [(1, 100)]
    await journal.append(batch(new_ids(1)))
    assert len(journal.read(1, PLENTY)) == 2
    journal.close()


async def test_a_cancelled_append_leaves_the_others_alone(path: Path):
    journal = journal_at(path)
    kept = [batch(new_ids(3)) for _ in range(4)]
    tasks = [asyncio.ensure_future(journal.append(one)) for one in (*kept[:2], batch(new_ids(9)), *kept[2:])]
    asyncio.get_running_loop().call_soon(tasks[2].cancel)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[2], asyncio.CancelledError)
    assert [answer for answer in answers if answer == Appended()] == [Appended()] * 4
    stored = events_of(journal)
    wanted = [line for one in kept for line in one.events]
    assert [line for line in stored if line in wanted] == wanted
    assert await journal.append(kept[3]) == Appended(
        duplicates={i: stored.index(line) + 1 for i, line in enumerate(kept[3].events)}
    )
    journal.close()


async def test_a_batch_that_is_not_well_formed_harms_only_itself(path: Path):
    journal = journal_at(path)
    broken = batch(new_ids(2))
    broken.ids[0] = "not a uuid"
    answers = await asyncio.gather(
        journal.append(batch(new_ids(2))),
        journal.append(broken),
        journal.append(batch(new_ids(2))),
        return_exceptions=True,
    )
    assert (answers[0], answers[2]) == (Appended(), Appended())
    assert isinstance(answers[1], ValueError)
    assert journal.head() == 5
    journal.close()


async def test_files_are_for_this_user_alone(tmp_path: Path):
    journal = journal_at(tmp_path / "new" / "journal.db")
    await journal.append(batch(new_ids(1)))
    assert oct((tmp_path / "new").stat().st_mode)[-3:] == "700"
    assert {oct(file.stat().st_mode)[-3:] for file in (tmp_path / "new").iterdir()} == {"600"}
    journal.close()


async def test_everything_is_there_after_a_restart(path: Path):
    journal = journal_at(path)
    batches = [batch(new_ids(20), "acme") for _ in range(5)]
    for one in batches:
        await journal.append(one)
    journal.close()
    journal = journal_at(path)
    assert events_of(journal) == [line for one in batches for line in one.events]
    assert await journal.append(batches[1]) == Appended(duplicates={i: 21 + i for i in range(20)})
    changed = batch(batches[1].ids, "acme", text="changed")
    assert await journal.append(changed) == Appended(conflicts=list(range(20)))
    assert journal.incidents() == []
    journal.close()


async def test_numbers_go_on_after_everything_was_evicted_and_the_process_restarted(path: Path):
    clock = Clock()
    journal = journal_at(path, retention=1, dedup_window=1, clock=clock)
    await journal.append(batch(new_ids(10)))
    clock.now += 100
    assert journal.evict(11, clock.milliseconds) == 1
    journal.close()
    (path.parent / "journal.db-mark").unlink()
    journal = journal_at(path, clock=clock)
    assert (journal.head(), journal.oldest()) == (11, 11)
    journal.close()


async def test_ids_are_known_across_restarts_until_they_leave_the_window(path: Path):
    clock = Clock()
    ids = [new_ids(4) for _ in range(8)]
    for one in ids:
        journal = journal_at(path, dedup_window=800, clock=clock)
        await journal.append(batch(one))
        clock.now += 100
        journal.close()
    clock.now += 250  # the first four batches are 1050, 950, 850 and 750 seconds old
    journal = journal_at(path, dedup_window=800, clock=clock)
    answers = [await journal.append(batch(one)) for one in ids]
    assert [len(answer.duplicates) for answer in answers] == [0, 0, 0, 4, 4, 4, 4, 4]
    journal.close()


async def test_ids_outside_the_window_leave_the_file(path: Path):
    clock = Clock()
    journal = journal_at(path, retention=1, dedup_window=100, clock=clock)
    await journal.append(batch(new_ids(20_000)))
    clock.now += 200
    journal.evict(20_001, clock.milliseconds)
    assert journal._connection.execute("SELECT count(*) FROM ids").fetchall() == [(0,)]
    journal.close()


async def test_small_rows_of_ids_are_joined_and_searched_exactly(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "JOIN_ROWS", 16)
    monkeypatch.setattr(
        "auditflow.journal.sqlite.dedup_window.RECENT", 10
    )  # so that the exact memory does not answer
    monkeypatch.setattr("auditflow.journal.sqlite.dedup_window.SMALLEST", 64)
    journal = journal_at(path)
    batches = [batch(new_ids(1 + number % 3)) for number in range(200)]
    firsts = []
    for one in batches:
        firsts.append(journal.head())
        await journal.append(one)
    rows = journal._connection.execute("SELECT first, octet_length(ids) FROM ids ORDER BY first").fetchall()
    assert len(rows) < 40
    assert sum(size for _, size in rows) == 16 * (journal.head() - 1)
    for reopened in (False, True):
        if reopened:
            journal.close()
            journal = journal_at(path)
        for first, one in zip(firsts, batches, strict=True):
            assert await journal.append(one) == Appended(
                duplicates={i: first + i for i in range(len(one.ids))}
            )
    everything = batch([one for b in batches for one in b.ids])
    assert await journal.append(everything) == Appended(
        duplicates={i: i + 1 for i in range(len(everything.ids))}
    )
    journal.close()


@pytest.mark.parametrize("others", [0, 20])
def test_an_id_is_found_only_where_ids_begin(others: int):
    one, two = b"a" * 15 + b"b", b"c" * 15 + b"d"
    row = encode_ids(100, two + one + two, 0)
    wanted = {one, two, (one + two)[8:24], *(bytes([number]) * 16 for number in range(others))}
    assert list(lookup._matches(row, wanted)) == [(two, 102), (one, 101), (two, 100)]


async def test_a_reader_sees_each_commit_at_once_and_refuses_to_write(path: Path):
    reader = SqliteJournal.reader(path)
    assert (reader.head(), reader.oldest(), reader.read(1, PLENTY), reader.size()) == (1, 1, [], 0)
    journal = journal_at(path)
    for number in range(1, 20):
        await journal.append(batch(new_ids(1)))
        assert reader.head() == number + 1
        assert len(events_of(reader)) == number
    assert reader.appended_at(19) == journal.appended_at(19) is not None
    with pytest.raises(JournalUnavailable, match="reading only"):
        await reader.append(batch(new_ids(1)))
    with pytest.raises(JournalUnavailable):
        reader.evict(1, 1)
    reader.close()
    journal.close()


async def test_a_steady_reader_does_not_let_the_write_ahead_log_grow(path: Path):
    journal, reader = journal_at(path), SqliteJournal.reader(path)
    start = 1
    for _ in range(60):
        await journal.append(batch(new_ids(50), text="".join(new_ids(100)), supplied=False))
        start = reader.read(start, 1)[-1].end
    assert start == journal.head()
    assert journal.size() > 0
    assert (path.parent / "journal.db-wal").stat().st_size < 8 * 2**20
    reader.close()
    journal.close()


async def test_eviction_is_done_in_steps(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("auditflow.journal.sqlite.eviction.STEP_BLOCKS", 7)
    clock = Clock()
    journal = journal_at(path, retention=1, clock=clock)
    for _ in range(20):
        await journal.append(batch(new_ids(1)))
    clock.now += 100
    assert [journal.evict(21, clock.milliseconds) for _ in range(4)] == [7, 7, 6, 0]
    journal.close()


async def test_appends_that_wait_when_it_closes_are_refused(path: Path):
    journal = journal_at(path)
    task = asyncio.ensure_future(journal.append(batch(new_ids(1))))
    asyncio.get_running_loop().call_soon(journal.close)
    with pytest.raises(JournalUnavailable):
        await task


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataDirectoryUnusable) as caught:
        journal_at(tmp_path / "file" / "journal.db")
    assert "--data-dir" in caught.value.hint
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(DataDirectoryUnusable):
        journal_at(tmp_path / "journal.db")


async def test_a_file_that_is_replaced_in_use_is_noticed(path: Path):
    journal = journal_at(path)
    await journal.append(batch(new_ids(3)))
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(JournalDamaged, match="removed"):
        await journal.append(batch(new_ids(1)))
    journal.close()
    journal = journal_at(path)
    assert journal.head() >= 4
    assert len(journal.incidents()) == 1
    journal.close()
