# ruff: noqa: ASYNC220, ASYNC240 - a test may block its event loop
"""Opening succeeds after any crash or damage, loses no more than it must, and never numbers twice (J5)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from auditflow.errors import JournalDamaged
from auditflow.journal import AppendBatch, Appended, Block, Journal
from auditflow.journal.sqlite import salvage
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.storage import recovery
from auditflow.testing.contracts.journal import PLENTY, Clock, batch, events_of, new_ids

APPENDER = """
import asyncio, sys
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.testing.contracts.journal import batch, new_ids

async def main():
    journal = SqliteJournal(sys.argv[1], max_size=2**30, retention=1e5, dedup_window=1e5)
    while True:
        batches = [batch(new_ids(3)) for _ in range(4)]
        await asyncio.gather(*map(journal.append, batches))
        print(*(event_id for one in batches for event_id in one.ids), flush=True)

asyncio.run(main())
"""


def restored(crashed: Path, directory: Path, *, without: tuple[str, ...] = ()) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(crashed, directory)
    for suffix in without:
        (directory / f"journal.db{suffix}").unlink()
    return directory / "journal.db"


def lost(journal: Journal, events: list[bytes]) -> int:
    """Check that what can be read is true and what cannot is counted; give how many events are lost."""
    place, missing = 1, 0
    for block in stretches(journal):
        assert block.first >= place
        missing += block.first - place + (block.count if block.damage else 0)
        if not block.damage:
            assert list(block.events) == events[block.first - 1 : block.end - 1]
        place = block.end
    assert place == journal.head()
    return missing


def stretches(journal: Journal) -> Iterator[Block]:
    """Read all blocks; one reading ends before what cannot be reached."""
    place = 1
    while blocks := journal.read(place, 50_000):
        yield from blocks
        place = blocks[-1].end


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch):
    """Look at what seems to be damaged as often as ever, and at once."""
    monkeypatch.setattr(recovery, "CONFIRM_SECONDS", (0.0,) * 4)
    monkeypatch.setattr(salvage, "CONFIRM_SECONDS", (0.0,) * 4)


async def goes_on(journal: SqliteJournal, head: int) -> None:
    """Check that nothing is numbered twice and that the journal takes events."""
    assert journal.head() >= head
    first, fresh = journal.head(), batch(new_ids(3))
    assert await journal.append(fresh) == Appended()
    assert events_of(journal, first) == fresh.events
    assert await journal.append(fresh) == Appended(duplicates={i: first + i for i in range(3)})


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, opened, kills: int):
    path = tmp_path / "journal.db"
    acknowledged: set[str] = set()
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True
        )
        acknowledged.update(process.stdout.readline().split())
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        acknowledged.update(process.communicate()[0].rpartition("\n")[0].split())
        assert process.returncode == -signal.SIGKILL
    journal = opened(path)
    stored = [line.split(b'"')[3].decode() for line in events_of(journal)]
    assert len(stored) == len(set(stored)) == journal.head() - 1
    assert acknowledged <= set(stored)
    assert journal.incidents() == []


async def test_a_crash_is_not_damage(crashed, tmp_path: Path, opened):
    source, events = crashed
    journal = opened(restored(source, tmp_path / "data"))
    assert lost(journal, events) == 0
    assert journal.incidents() == []
    await goes_on(journal, len(events) + 1)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.7, 0.99])
async def test_a_torn_write_ahead_log_is_used_as_far_as_it_goes(crashed, tmp_path: Path, opened, keep: float):
    source, events = crashed
    path = restored(source, tmp_path / "data", without=("-mark",))
    wal = path.with_name("journal.db-wal")
    os.truncate(wal, int(wal.stat().st_size * keep))
    journal = opened(path)
    assert events_of(journal) == events[: journal.head() - 1]
    assert journal.head() > 60
    assert journal.incidents() == []
    await goes_on(journal, 1)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.7, 0.99])
async def test_what_a_torn_log_lost_is_counted(crashed, tmp_path: Path, opened, keep: float):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    wal = path.with_name("journal.db-wal")
    os.truncate(wal, int(wal.stat().st_size * keep))
    journal = opened(path)
    assert 0 < lost(journal, events) < len(events)
    assert len(journal.incidents()) == 1
    await goes_on(journal, len(events) + 1)


@pytest.mark.parametrize("seed", range(12))
async def test_a_torn_file_opens(crashed, tmp_path: Path, opened, seed: int):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    size = path.stat().st_size
    os.truncate(
        path,
        [0, 1, 99, 4096, 4097, size - 1, size - 4096][seed]
        if seed < 7
        else random.Random(seed).randrange(size),
    )
    journal = opened(path)
    missing = lost(journal, events)
    assert missing < len(events)
    told = journal.incidents() or any(block.damage for block in stretches(journal))
    assert told or not missing  # the log may hold all that was cut off
    await goes_on(journal, len(events) + 1)
    incidents = journal.incidents()
    journal.close()
    assert opened(path).incidents() == incidents


async def test_a_file_cut_short_beside_its_log_is_damaged_and_not_unreachable(
    crashed, tmp_path: Path, opened
):
    """SQLite calls it an I/O error when a page is missing, which would pass on any other day."""
    source, events = crashed
    pages = source.joinpath("journal.db").stat().st_size // 4096
    for kept in sorted({*range(1, 12), *range(12, pages, max(1, pages // 20))} & {*range(pages)}):
        path = restored(source, tmp_path / "data")
        os.truncate(path, kept * 4096)
        journal = opened(path)
        missing = lost(journal, events)
        told = journal.incidents() or any(block.damage for block in stretches(journal))
        assert told or not missing, f"{kept} pages kept"
        await goes_on(journal, len(events) + 1)
        journal.close()


REGIONS = {
    "header": ("", 0, 100),
    "schema": ("", 100, 4096),
    "tree": ("", 4096, 5 * 4096),
    "pages": ("", 4096, None),
    "log header": ("-wal", 0, 32),
    "log": ("-wal", 32, None),
    "mark": ("-mark", 0, None),
}


@pytest.mark.parametrize("region", REGIONS)
async def test_a_flipped_bit_loses_no_more_than_what_it_hits(crashed, tmp_path: Path, opened, region: str):
    source, events = crashed
    suffix, start, end = REGIONS[region]
    for seed in range(25):
        path = restored(source, tmp_path / "data")
        file = path.with_name(f"journal.db{suffix}")
        data = bytearray(file.read_bytes())
        chance = random.Random(f"{region} {seed}")
        place, bit = chance.randrange(start, end or len(data)), chance.randrange(8)
        data[place] ^= 1 << bit
        file.write_bytes(data)
        print(f"{region}: seed {seed}, byte {place}, bit {bit}")  # noqa: T201 - shown when the test fails
        journal = opened(path)
        missing = lost(journal, events)
        assert missing <= (0 if region in {"header", "schema", "log header", "mark"} else 400)
        assert not missing or journal.incidents() or any(block.damage for block in stretches(journal))
        await goes_on(journal, len(events) + 1)
        journal.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
async def test_any_damage_can_be_opened(crashed, tmp_path: Path, opened, seed: int):
    source, events = crashed
    chance = random.Random(seed)
    path = restored(source, tmp_path / "data", without=("-mark",) if seed % 2 else ())
    for file in path.parent.iterdir():
        data = bytearray(file.read_bytes())
        for _ in range(chance.choice([0, 1, 10, 500])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        file.write_bytes(data)
    journal = opened(path, floor=len(events) + 1)
    assert lost(journal, events) <= len(events)
    await goes_on(journal, len(events) + 1)


async def test_garbage_is_set_aside(tmp_path: Path, opened, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "journal.db"
    path.write_bytes(random.Random(1).randbytes(50_000))
    journal = opened(path, floor=77)
    assert journal.head() == 77
    (aside,) = tmp_path.glob("journal.db.damaged-*")
    assert aside.stat().st_size == 50_000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "set aside" in journal.incidents()[0]
    await goes_on(journal, 77)


@pytest.mark.parametrize("without", [("",), ("-wal",), ("", "-wal"), ("-mark",), ("", "-wal", "-mark")])
async def test_deleted_files_are_survived(crashed, tmp_path: Path, opened, without: tuple[str, ...]):
    source, events = crashed
    journal = opened(restored(source, tmp_path / "data", without=without), floor=len(events) + 1)
    missing = lost(journal, events)
    assert (missing == 0) == (without == ("-mark",))
    assert (missing < len(events)) == (without not in {("", "-wal"), ("", "-wal", "-mark")})
    assert len(journal.incidents()) == (0 if without == ("-mark",) else 1)
    if "" in without and "-mark" not in without:
        assert f" {missing} sequence numbers" in journal.incidents()[0]
    await goes_on(journal, len(events) + 1)


async def test_no_damage_erases_the_incident_of_one_before(crashed, tmp_path: Path, opened):
    source, events = crashed
    path = restored(source, tmp_path / "data", without=("-wal",))
    journal = opened(path)
    (first,) = journal.incidents()
    journal.close()
    patch(path, 0, b"\0\0")
    journal = opened(path)
    assert journal.incidents()[0] == first
    assert len(journal.incidents()) == 2
    second = journal.incidents()[1]
    journal.close()
    for suffix in ("", "-wal", "-mark"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    journal = opened(path, floor=len(events) + 1)
    assert journal.incidents()[:2] == [first, second]
    assert len(journal.incidents()) == 3
    await goes_on(journal, len(events) + 1)


async def test_what_was_evicted_does_not_come_back_from_free_pages(tmp_path: Path, opened):
    path = tmp_path / "journal.db"
    clock = Clock()
    journal = opened(path, retention=1, clock=clock)
    events = []
    for _ in range(200):
        one = batch(new_ids(2), text="".join(new_ids(20)))
        await journal.append(one)
        events += one.events
    clock.now += 10
    assert journal.evict(301, clock.milliseconds) == 150
    journal.close()
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    journal = opened(path)
    assert (journal.oldest(), journal.head()) == (301, 401)
    assert events_of(journal) == events[300:]
    assert "0 sequence numbers" in journal.incidents()[0]


async def test_a_lost_journal_does_not_make_its_numbers_look_retained(crashed, tmp_path: Path, opened):
    source, events = crashed
    journal = opened(restored(source, tmp_path / "data", without=("", "-wal")))
    assert journal.oldest() == journal.head() == len(events) + 1


async def test_a_damaged_payload_leaves_the_other_blocks_alone(tmp_path: Path, opened):
    path, batches = await closed_journal(tmp_path, opened)
    patch(path, path.read_bytes().index(payload(path, 21)[-1000:]), b"\0\0")
    journal = opened(path)
    blocks = journal.read(1, PLENTY)
    assert [(block.first, block.count, bool(block.damage)) for block in blocks] == [
        (first, 10, first == 21) for first in range(1, 51, 10)
    ]
    assert "checksum" in blocks[2].damage
    assert events_of(journal) == [line for i, one in enumerate(batches) if i != 2 for line in one.events]
    assert await journal.append(batches[2]) == Appended(duplicates={i: 21 + i for i in range(10)})


async def test_a_restart_in_the_middle_of_recovery_finishes_it(
    crashed, tmp_path: Path, opened, monkeypatch: pytest.MonkeyPatch
):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    os.truncate(path, path.stat().st_size // 2)
    rename, done, limit = Path.rename, 0, 0

    def stops(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == limit:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stops)
    for step in (1, 2, 3, 4):  # each start gets one step further
        done, limit = 0, step
        with suppress(KeyboardInterrupt):
            opened(path).close()
    monkeypatch.undo()
    journal = opened(path)
    assert 0 < lost(journal, events) < len(events)
    await goes_on(journal, len(events) + 1)


async def test_a_header_that_denies_the_log_is_set_right(tmp_path: Path, opened):
    path, batches = await closed_journal(tmp_path, opened)
    patch(path, 18, b"\1\1")  # the file format's "no write-ahead log"
    journal = opened(path)
    assert events_of(journal) == [line for one in batches for line in one.events]
    await goes_on(journal, journal.head())
    assert journal._connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


async def closed_journal(directory: Path, opened) -> tuple[Path, list[AppendBatch]]:
    """Five blocks, large enough for pages of their own, in a file without a log."""
    journal = opened(directory / "journal.db", retention=0)
    batches = [batch(new_ids(10), text="".join(new_ids(900))) for _ in range(5)]
    for one in batches:
        await journal.append(one)
    journal.close()
    return directory / "journal.db", batches


def patch(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def payload(path: Path, first: int) -> bytes:
    reader = SqliteJournal.reader(path)
    with reader._reading as connection:
        ((found,),) = connection.execute("SELECT payload FROM block WHERE first = ?", (first,)).fetchall()
    reader.close()
    return found


async def test_a_payload_that_cannot_be_reached_leaves_the_other_blocks_alone(tmp_path: Path, opened):
    path, batches = await closed_journal(tmp_path, opened)
    data, wanted = path.read_bytes(), payload(path, 21)
    place = max(
        data.find(wanted[start : start + 100]) for start in (4200, 4400)
    )  # one is not across a page's end
    patch(path, place // 4096 * 4096, b"\0\xff\xff\xff")  # the chain leads out of the file
    journal = opened(path)
    found = [
        (block.first, block.count, bool(block.damage))
        for start in range(1, 51, 10)
        for block in journal.read(start, 1)
    ]
    assert found == [(first, 10, first == 21) for first in range(1, 51, 10)]
    assert await journal.append(batches[2]) == Appended(duplicates={i: 21 + i for i in range(10)})


async def test_a_last_block_with_a_wrong_count_does_not_move_the_head(tmp_path: Path, opened):
    path, _ = await closed_journal(tmp_path, opened)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE block SET count = 1010 WHERE first = 41").fetchall()
    connection.close()
    journal = opened(path)
    assert journal.head() == 51
    assert [block.damage for block in journal.read(41, 1)] != [""]
    await goes_on(journal, 51)


async def test_damage_met_by_an_append_is_fixed_by_a_restart(tmp_path: Path, opened):
    path, batches = await closed_journal(tmp_path, opened)
    journal = opened(path, retention=0)
    assert journal.evict(21, int(time.time() * 1000) + 1000) == 2
    journal.close()
    patch(path, 32, b"\0\xff\xff\xff")  # the list of free pages leads out of the file
    journal = opened(path)
    with pytest.raises(JournalDamaged) as caught:  # noqa: PT012 - the first may do without a free page
        await journal.append(batches[0])
        await journal.append(batch(new_ids(50), text="".join(new_ids(300))))
    assert "Restart" in caught.value.hint
    journal.close()
    journal = opened(path)
    assert "was damaged" in journal.incidents()[0]
    assert events_of(journal) == [line for one in batches[2:] for line in one.events]
    await goes_on(journal, 51)


async def test_damage_met_by_a_reader_is_fixed_by_the_writers_restart(tmp_path: Path, opened):
    path, _ = await closed_journal(tmp_path, opened)
    journal = opened(path)
    reader = SqliteJournal.reader(path)
    for number in range(1, path.stat().st_size // 4096):
        patch(path, number * 4096, b"\x77")  # no page of a table or its overflow begins like this
    with pytest.raises(JournalDamaged):
        reader.read(1, PLENTY)
    reader.close()
    journal.close()
    journal = opened(path)
    assert "was damaged" in journal.incidents()[0]
    await goes_on(journal, 51)


async def test_a_reader_in_another_process_follows_the_writer(tmp_path: Path):
    path = tmp_path / "journal.db"
    process = subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True)
    reader = SqliteJournal.reader(path)
    try:
        for _ in range(20):
            ids = await asyncio.to_thread(process.stdout.readline)
            head = reader.head()
            seen = b"\n".join(events_of(reader))
            assert all(event_id.encode() in seen for event_id in ids.split())
            assert head > 1
    finally:
        process.kill()
        process.communicate()
        reader.close()


async def test_a_reader_follows_a_journal_that_was_replaced(crashed, tmp_path: Path, opened):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    reader = SqliteJournal.reader(path)
    assert reader.head() == len(events) + 1
    path.with_name("journal.db-damaged").write_text("")
    journal = opened(path)
    await goes_on(journal, len(events) + 1)
    assert reader.head() == journal.head()
    reader.close()
