"""The SQLite ledger: the contract, and what only a file can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditflow.errors import JournalDamaged, JournalUnavailable
from auditflow.ledger import DeadLetter, Progress, Update
from auditflow.ledger.sqlite.ledger import SqliteLedger
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
        assert bool(lows) != bool(ledger.incidents())
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
    path.with_name("ledger.db-damaged").write_text("found in use")
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
