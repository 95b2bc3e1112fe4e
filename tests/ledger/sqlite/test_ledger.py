"""The SQLite ledger: the contract, and what only a file can show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.ledger import DeadLetter, Progress, Receipt, Replay, Selection, Update
from auditflow.ledger.sqlite import salvage
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.storage import recovery
from auditflow.testing.contracts.ledger import LedgerContract


class TestSqliteLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "data" / "ledger.db"

    def make(self) -> SqliteLedger:
        return SqliteLedger(self.path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def filled(path: Path) -> SqliteLedger:
    ledger = SqliteLedger(path)
    ledger.register(["a", "b"], head=1, oldest=1)
    progress = Progress(30)
    progress.finish(40, 5)
    letters = [DeadLetter("a", 7, "CODE", "reason", b"{}" * 3000) for _ in range(5)]
    ledger.commit(
        [Update("a", progress, delivered=29, letters=letters), Update("b", Progress(12), filtered=11)]
    )
    return ledger


def test_everything_is_there_after_a_restart(path: Path):
    ledger = filled(path)
    accounts, letters = ledger.accounts(), ledger.dead_letters()
    ledger.close()
    ledger = SqliteLedger(path)
    assert (ledger.accounts(), ledger.dead_letters(), ledger.incidents()) == (accounts, letters, [])
    ledger.close()


def test_a_reader_sees_each_commit_at_once_and_refuses_to_write(path: Path):
    reader = SqliteLedger.reader(path)
    assert (reader.accounts(), reader.finished(), reader.dead_letters()) == ([], None, [])
    ledger = filled(path)
    for low in range(31, 40):
        ledger.commit([Update("a", Progress(low), delivered=1)])
        assert reader.accounts() == ledger.accounts()
        assert reader.accounts()[0].progress.low == low
    for refused in (
        lambda: reader.register([], 1, 1),
        lambda: reader.commit([]),
        lambda: reader.note({"a": "{}"}),
    ):
        with pytest.raises(JournalUnavailable, match="reading only"):
            refused()
    reader.close()
    ledger.close()


@pytest.mark.parametrize("size", [0, 1, 50, 100, 4095, 4096, 5000, 12_288])
def test_a_torn_ledger_is_set_aside_and_work_is_repeated(path: Path, size: int):
    filled(path).close()
    with path.open("r+b") as file:
        file.truncate(size)
    ledger = SqliteLedger(path)
    assert ledger.accounts() == []
    assert len(ledger.incidents()) == 1
    assert "set aside" in ledger.incidents()[0]
    assert len(list(path.parent.glob("ledger.db.damaged-*"))) == (size > 0)
    ledger.register(["a"], head=50, oldest=20)
    assert ledger.accounts()[0].progress == Progress(20)
    ledger.close()


def test_a_flipped_bit_never_moves_a_position_forward(path: Path):
    filled(path).close()
    sound = path.read_bytes()
    outcomes = set()
    for place in range(0, len(sound), 251):
        for stale in path.parent.iterdir():
            stale.unlink()
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        ledger = SqliteLedger(path)
        lows = [one.progress.low for one in ledger.accounts()]
        assert lows in ([], [30, 12]), f"bit {place % 8} of byte {place}"
        assert lows or ledger.incidents()
        ledger.register(["a"], head=50, oldest=20)
        ledger.commit([Update("a", Progress(50))])
        outcomes.add(bool(lows))
        ledger.close()
    assert outcomes == {True, False}


def test_a_position_that_does_not_match_its_checksum_is_not_believed(path: Path):
    ledger = filled(path)
    ledger._connection.execute("UPDATE pipeline SET low = 31 WHERE name = 'a'").fetchall()
    ledger.close()
    ledger = SqliteLedger(path)
    assert ledger.accounts() == []
    assert "checksum" in ledger.incidents()[0]
    ledger.close()


def test_a_closed_ledger_refuses(path: Path):
    ledger = SqliteLedger(path)
    ledger.close()
    with pytest.raises(JournalUnavailable):
        ledger.register(["a"], 1, 1)


def test_a_writer_whose_file_was_replaced_says_so_and_does_not_harm_the_new_one(path: Path):
    old = filled(path)
    old._connection.execute("UPDATE pipeline SET low = 31 WHERE name = 'a'").fetchall()
    new = SqliteLedger(path)
    new.register(["a"], head=50, oldest=20)
    with pytest.raises(JournalDamaged, match="replaced"):
        old.register(["a"], head=60, oldest=30)
    old.close()
    new.commit([Update("a", Progress(33), delivered=13)])
    accounts = new.accounts()
    assert accounts[0].progress == Progress(33)
    new.close()
    again = SqliteLedger(path)
    assert again.accounts() == accounts
    assert len(again.incidents()) == 1
    again.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Look at what seems to be damaged as often as ever, and at once."""
    monkeypatch.setattr(recovery, "CONFIRM_SECONDS", (0.0,) * 4)


def contents(ledger: SqliteLedger) -> tuple:
    return ledger.accounts(), ledger.dead_letters(), ledger.incidents()


@pytest.mark.parametrize(
    "change", ["VACUUM", "CREATE INDEX by_dba ON letter (tenant)", "ANALYZE", "CREATE TABLE notes (text)"]
)
def test_what_an_administrator_does_to_the_file_empties_nothing(path: Path, change: str):
    ledger = filled(path)
    before = contents(ledger)
    ledger.close()
    connection = apsw.Connection(str(path))
    connection.execute(change).fetchall()
    connection.close()
    ledger = SqliteLedger(path)
    assert contents(ledger) == before
    ledger.close()


def test_a_read_that_failed_once_is_no_damage(path: Path, caplog):
    ledger = filled(path)
    before = contents(ledger)
    ledger.close()
    recovery.note_damage(path, "disk image is malformed")
    ledger = SqliteLedger(path)
    assert contents(ledger) == before
    assert "could not be read once" in caplog.text
    recovery.raise_noted(path)
    ledger.close()


def test_dead_letters_outlive_a_position_that_is_damaged(path: Path):
    ledger = filled(path)
    letters = ledger.dead_letters()
    ledger._connection.execute("UPDATE pipeline SET low = 31 WHERE name = 'a'").fetchall()
    ledger.close()
    ledger = SqliteLedger(path)
    assert (ledger.accounts(), ledger.dead_letters()) == ([], letters)
    assert "5 dead letters were saved" in ledger.incidents()[0]
    ledger.close()


def test_an_incident_outlives_the_next_one(path: Path):
    ledger = filled(path)
    ledger.close()
    for number in (1, 2, 3):
        ledger = SqliteLedger(path)
        ledger.register(["a"], head=50, oldest=20)
        ledger._connection.execute("UPDATE pipeline SET low = low + 1").fetchall()
        ledger.close()
        ledger = SqliteLedger(path)
        assert len(ledger.incidents()) == number
        ledger.close()


def test_dead_letters_on_either_side_of_a_damaged_page_are_saved(path: Path):
    ledger = SqliteLedger(path)
    ledger.register(["a"], head=1, oldest=1)
    letters = [DeadLetter("a", n, "CODE", "reason", b"{}" * 500) for n in range(1, 201)]
    ledger.commit([Update("a", Progress(201), letters=letters)])
    ledger.close()
    connection = apsw.Connection(str(path))
    pages = "SELECT pageno FROM dbstat WHERE name = 'letter' AND pagetype = 'leaf' ORDER BY path"
    leaves = [page for (page,) in connection.execute(pages)]
    connection.close()
    with path.open("r+b") as file:
        file.seek((leaves[len(leaves) // 2] - 1) * 4096)
        file.write(b"\xff" * 4096)
    ledger = SqliteLedger(path)
    saved = [letter.sequence for letter in ledger.dead_letters(limit=1000)]
    assert 180 < len(saved) < 200
    assert {1, 200} < set(saved)
    assert f"up to {200 - len(saved)} could not be read" in ledger.incidents()[0]
    assert [account.progress.low for account in ledger.accounts()] == [201]
    ledger.close()


def failing(times: int, error: Exception, then: Callable):
    """Give a function that raises so many times before it does what it is for."""
    left = [error] * times

    def act(*arguments, **named):
        if left:
            raise left.pop()
        return then(*arguments, **named)

    return act


def test_what_looks_damaged_at_first_is_looked_at_again(path: Path, monkeypatch):
    ledger = filled(path)
    before = contents(ledger)
    ledger.close()
    compare = failing(3, apsw.CorruptError("malformed"), recovery._compare)
    monkeypatch.setattr(recovery, "_compare", compare)
    ledger = SqliteLedger(path)
    assert (contents(ledger), ledger.incidents()) == (before, [])
    assert not list(path.parent.glob("*.damaged-*"))
    ledger.close()


def test_a_damaged_ledger_that_cannot_be_read_once_is_read_again(path: Path, monkeypatch):
    ledger = filled(path)
    before = contents(ledger)
    ledger.close()
    monkeypatch.setattr(recovery, "_compare", failing(5, apsw.CorruptError("malformed"), recovery._compare))
    copy = failing(1, apsw.IOError("disk I/O error"), salvage._copy)
    monkeypatch.setattr(salvage, "_copy", copy)
    ledger = SqliteLedger(path)
    assert contents(ledger)[:2] == before[:2]
    assert "Every pipeline goes on where it was" in ledger.incidents()[-1]
    ledger.close()


def change(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.create_scalar_function("checksum", lambda *_: 0, -1)
    connection.execute(sql).fetchall()
    connection.close()


@pytest.mark.parametrize(
    "column", ["event = x'7b7d'", "reason = 'other'", "sequence = sequence + 1", "event_id = 'other'", "history = '[1]'"]
)  # fmt: skip
def test_a_dead_letter_that_is_not_as_it_was_written_is_never_given(path: Path, column: str):
    filled(path).close()
    change(path, f"UPDATE letter SET {column} WHERE id = 2")
    ledger = SqliteLedger(path)
    with pytest.raises(JournalDamaged, match="does not match its checksum"):
        ledger.dead_letters()
    ledger.close()
    ledger = SqliteLedger(path)  # which has been told that there is damage
    assert [letter.id for letter in ledger.dead_letters()] == [1, 3, 4, 5]
    assert (
        "4 dead letters were saved; up to 1 could not be read. Every pipeline goes on"
        in ledger.incidents()[-1]
    )
    ledger.close()


def test_a_receipt_that_is_not_as_it_was_written_is_never_given(path: Path):
    ledger = filled(path)
    receipt = Receipt("a", 1, 9, 1_700_000_000_000, 1, '{"destination":"x"}')
    progress = ledger.accounts()[0].progress.copy()
    ledger.commit([Update("a", progress, receipts=[receipt])])
    assert ledger.receipt_of("a", 5) == receipt
    ledger.close()
    change(path, """UPDATE receipt SET place = '{"destination":"y"}' WHERE pipeline = 'a'""")
    ledger = SqliteLedger(path)
    with pytest.raises(JournalDamaged, match="does not match its checksum"):
        ledger.receipt_of("a", 5)
    ledger.close()


def test_what_is_changed_as_it_should_be_keeps_matching(path: Path):
    ledger = filled(path)
    [one, *_] = ledger.dead_letters()
    ledger.replay(Selection(ids=[one.id]), Replay(event=b'{"eventType":"b"}', by="me"), at=5)
    ledger.register(["a", "b"], 100, 1)
    assert ledger.dead_letters()[0].id == one.id
    ledger.purge(Selection(ids=[ledger.dead_letters()[-1].id]))
    assert ledger.dead_letters()
    ledger.close()


def test_a_ledger_of_an_earlier_release_is_guarded_from_now_on(path: Path):
    ledger = filled(path)
    before = contents(ledger)
    ledger.close()
    change(
        path,
        "DROP TRIGGER letter_checksum_goes; DROP TRIGGER receipt_checksum_goes; DROP TABLE letter_checksum; "
        "DROP TABLE receipt_checksum",
    )
    ledger = SqliteLedger(path)
    assert contents(ledger) == before
    ledger.close()
    change(path, "UPDATE letter SET event = x'7b7d' WHERE id = 1")
    ledger = SqliteLedger(path)
    with pytest.raises(JournalDamaged, match="checksum"):
        ledger.dead_letters()
    ledger.close()
