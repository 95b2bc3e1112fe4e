"""What seems to be damaged, or was noted as such, is looked at again before anything is set aside."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from auditflow.journal.sqlite import salvage
from auditflow.storage import recovery
from auditflow.testing.contracts.journal import events_of

from .test_recovery import closed_journal, goes_on, lost, restored


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch):
    """Look as often as ever, and at once."""
    monkeypatch.setattr(recovery, "CONFIRM_SECONDS", (0.0,) * 4)
    monkeypatch.setattr(salvage, "CONFIRM_SECONDS", (0.0,) * 4)


async def test_a_note_of_damage_that_a_look_at_the_whole_file_does_not_find_is_dropped(
    crashed, tmp_path: Path, opened, caplog: pytest.LogCaptureFixture
):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    path.with_name("journal.db-damaged").write_text("found by an append")
    journal = opened(path)
    assert (lost(journal, events), journal.incidents()) == (0, [])
    assert "found by an append" in caplog.text
    assert not list(path.parent.glob("*.damaged-*"))
    await goes_on(journal, len(events) + 1)
    journal.close()
    assert not path.with_name("journal.db-damaged").exists()


async def test_a_note_of_damage_has_every_block_looked_at(tmp_path: Path, opened):
    path, batches = await closed_journal(tmp_path, opened)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE block SET payload = x'00' WHERE first = 11").fetchall()
    connection.close()
    opened(path).close()  # nobody has met it yet
    path.with_name("journal.db-damaged").write_text("found by a reader")
    journal = opened(path)
    assert "checksum" in journal.incidents()[0]
    assert events_of(journal) == [line for one in batches[:1] + batches[2:] for line in one.events]


async def test_what_looks_damaged_at_first_is_looked_at_again(crashed, tmp_path: Path, opened, monkeypatch):
    source, events = crashed
    path = restored(source, tmp_path / "data")
    left = [apsw.CorruptError("malformed")] * 3
    compare = recovery._compare

    def failing(*arguments):
        if left:
            raise left.pop()
        compare(*arguments)

    monkeypatch.setattr(recovery, "_compare", failing)
    journal = opened(path)
    assert (lost(journal, events), journal.incidents()) == (0, [])
    assert not list(path.parent.glob("*.damaged-*"))
