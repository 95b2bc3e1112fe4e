"""A disk that refuses: full, limited, read-only. Nothing is stored by halves, and work goes on when it is well again."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditflow.errors import DataDirectoryUnusable, JournalUnavailable
from auditflow.journal import AppendBatch, Appended
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger import Progress, Update
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.testing.contracts.journal import batch, events_of, new_ids


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this user may make one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def bulk() -> AppendBatch:
    return batch(new_ids(20), text="".join(new_ids(30)))


async def refused(journal: SqliteJournal) -> AppendBatch:
    for _ in range(200):
        offered = bulk()
        head, stored = journal.head(), len(events_of(journal))
        try:
            await journal.append(offered)
        except JournalUnavailable:
            assert (journal.head(), len(events_of(journal))) == (head, stored)
            return offered
    raise AssertionError("the disk took everything")


async def test_a_full_disk_stores_nothing_and_remembers_nothing(small_disk: Path, opened):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    journal = opened(small_disk / "journal.db")
    offered = await refused(journal)
    with pytest.raises(JournalUnavailable, match="full"):
        await journal.append(offered)
    ballast.unlink()
    head = journal.head()
    assert await journal.append(offered) == Appended()
    assert events_of(journal, head) == offered.events
    journal.close()
    journal = opened(small_disk / "journal.db")
    assert len(events_of(journal)) == journal.head() - 1 == head + 19
    assert journal.incidents() == []


async def test_a_full_disk_is_survived_by_the_ledger(small_disk: Path):
    ledger = SqliteLedger(small_disk / "ledger.db")
    ledger.register(["a"], 1, 1)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="space"):
        ballast.write_bytes(bytes(2_000_000))
    low = 1
    with pytest.raises(JournalUnavailable):  # noqa: PT012 - some commits still fit
        while low < 200:
            low += 1
            ledger.commit([Update("a", Progress(low), delivered=1)])
    assert ledger.accounts()[0].progress.low - 1 == ledger.accounts()[0].delivered
    ballast.unlink()
    kept = ledger.accounts()[0]
    ledger.commit([Update("a", Progress(kept.progress.low + 1), delivered=1)])
    assert ledger.accounts()[0].delivered == kept.delivered + 1
    ledger.close()


def test_a_disk_without_room_for_a_new_journal_says_so(small_disk: Path, opened):
    with pytest.raises(OSError, match="space"):
        (small_disk / "ballast").write_bytes(bytes(2_000_000))
    with pytest.raises(DataDirectoryUnusable) as caught:
        opened(small_disk / "journal.db")
    assert "space" in caught.value.hint


async def test_a_damaged_journal_is_left_alone_when_there_is_no_room_to_save_it(small_disk: Path, opened):
    path = small_disk / "journal.db"
    journal = opened(path)
    for _ in range(20):
        await journal.append(batch(new_ids(20), text="".join(new_ids(2))))
    events = events_of(journal)
    journal.close()
    data = bytearray(path.read_bytes())
    data[0] ^= 255
    path.write_bytes(data)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="space"):
        ballast.write_bytes(bytes(2_000_000))
    with pytest.raises(DataDirectoryUnusable):
        opened(path)
    assert path.read_bytes() == data
    ballast.unlink()
    assert events_of(opened(path)) == events


async def test_a_write_that_fails_is_not_trusted_and_the_next_append_opens_again(tmp_path: Path, opened):
    journal = opened(tmp_path / "journal.db")
    for _ in range(5):
        await journal.append(bulk())
    before = journal._connection
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        offered = await refused(journal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    head = journal.head()
    assert await journal.append(offered) == Appended()
    assert journal._connection is not before
    assert events_of(journal, head) == offered.events
    assert await journal.append(offered) == Appended(duplicates={i: head + i for i in range(20)})


async def test_what_a_failed_commit_left_behind_is_learnt_when_the_file_is_opened_again(
    tmp_path: Path, opened
):
    """A commit whose flush failed may be on disk after all: then it counts, and its ids are known."""
    path = tmp_path / "journal.db"
    journal = opened(path)
    await journal.append(bulk())
    journal._drop()
    other = opened(path)
    late = bulk()
    await other.append(late)
    other.close()
    assert await journal.append(late) == Appended(duplicates={i: 21 + i for i in range(20)})
    assert await journal.append(bulk()) == Appended()
    assert len(events_of(journal)) == journal.head() - 1 == 60


def test_a_read_only_disk_is_refused_at_opening(small_disk: Path, opened):
    opened(small_disk / "journal.db").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(DataDirectoryUnusable) as caught:
        opened(small_disk / "journal.db")
    assert "--data-dir" in caught.value.hint
