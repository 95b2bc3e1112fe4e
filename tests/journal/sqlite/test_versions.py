"""A file of another version is no damage: it is refused and left as it is."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from auditflow.errors import JournalOfAnotherVersion
from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.ledger.sqlite.ledger import SqliteLedger


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
