"""A file of another version is no damage: it is refused and left as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from auditflow.errors import JournalOfAnotherVersion
from auditflow.journal import AppendBatch
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger.sqlite.ledger import SqliteLedger

LAYOUT_1 = Path(__file__).parents[2] / "data" / "layout-1"
"""Journal and ledger as the first release wrote them: never to be written again, only to be opened."""


def open_journal(path: Path) -> SqliteJournal:
    return SqliteJournal(path, max_size=10**9, retention=60, dedup_window=60)


@pytest.mark.parametrize(("open_file", "table"), [(open_journal, "block"), (SqliteLedger, "letter")])
def test_a_file_of_a_later_version_is_refused_and_kept(tmp_path: Path, open_file, table):
    path = tmp_path / "file.sqlite"
    open_file(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = 2; ALTER TABLE {table} ADD COLUMN more").fetchall()
    connection.close()
    with pytest.raises(JournalOfAnotherVersion) as caught:
        open_file(path)
    assert "format is 2, this version's is 1" in str(caught.value)
    assert not list(tmp_path.glob("*.damaged-*"))
    kept = apsw.Connection(str(path)).execute(
        f"SELECT count(*) FROM pragma_table_info('{table}') WHERE name = 'more'"
    )
    assert kept.fetchall() == [(1,)]


def test_a_damaged_version_number_alone_is_no_reason_to_refuse(tmp_path: Path):
    path = tmp_path / "file.sqlite"
    open_journal(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 77").fetchall()
    connection.close()
    again = open_journal(path)
    assert again.head() == 1
    assert again.incidents() == []
    again.close()


@pytest.fixture
def released(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LAYOUT_1, tmp_path / "data"))


async def test_a_journal_of_the_first_layout_opens_and_goes_on(released: Path) -> None:
    journal = SqliteJournal(
        released / "journal.sqlite", max_size=10**9, retention=10**12, dedup_window=10**12
    )
    assert (journal.incidents(), journal.oldest(), journal.head()) == ([], 1, 21)
    events = [event for block in journal.read(1, 10**9) for event in block.events]
    assert len(events) == 20
    repeat = await journal.append(
        AppendBatch([events[3]], ["0192f0c1-2b3c-7d4e-8f50-000000000003"], ["acme"], [0])
    )
    assert (journal.head(), repeat.duplicates) == (21, {0: 4})
    await journal.append(AppendBatch([b"{}"], ["0192f0c1-2b3c-7d4e-8f50-000000000099"], [""]))
    assert journal.head() == 22
    journal.close()


def test_a_ledger_of_the_first_layout_opens_with_all_it_accounts_for(released: Path) -> None:
    ledger = SqliteLedger(released / "ledger.sqlite")
    theirs, everything = sorted(ledger.accounts(), key=lambda account: account.pipeline)
    assert (ledger.incidents(), theirs.tenant, everything.paused) == ([], "acme", True)
    assert (everything.delivered, everything.filtered, everything.dead_lettered) == (16, 1, 1)
    assert [(each.pending, each.progress.low) for each in everything.replay_ranges] == [(5, 3)]
    assert [letter.code for letter in ledger.dead_letters()] == ["TOO_LARGE"]
    assert [receipt.owed for receipt in ledger.owed("everything")] == [2]
    found = ledger.receipt_of("everything", 7)
    assert found is not None
    assert "/audit" in found.place
    ledger.close()


def test_a_dead_letter_whose_edited_event_was_written_as_text_can_be_read(released: Path) -> None:
    connection = apsw.Connection(str(released / "ledger.sqlite"))
    connection.execute("UPDATE letter SET event = CAST(event AS TEXT)").fetchall()
    connection.close()
    ledger = SqliteLedger(released / "ledger.sqlite")
    (letter,) = ledger.dead_letters()
    assert isinstance(letter.event, bytes)
    ledger.close()
