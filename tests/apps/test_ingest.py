import asyncio
import uuid
from pathlib import Path

import pytest

from auditflow.apps import ingest
from auditflow.apps.data_directory import DataDirectory
from auditflow.apps.upkeep.journal_room import JournalRoom
from auditflow.config import Config
from auditflow.errors import JournalDamaged
from auditflow.ingest.admission import Admission
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Progress, Update
from auditflow.ledger.memory import MemoryLedger
from auditflow.storage import recovery

PIPELINES = [
    {"name": name, "enabled": name != "off", "sink": {"name": "logging_sink"}} for name in ("a", "b", "off")
]


def batch(count: int) -> AppendBatch:
    return AppendBatch([b"{}"] * count, [str(uuid.uuid4()) for _ in range(count)], [""] * count)


def room(journal: MemoryJournal, ledger: MemoryLedger) -> JournalRoom:
    return JournalRoom(journal, ledger, 2**30, Admission(None))


async def test_the_enabled_pipelines_are_accountable_before_the_first_event_is_accepted(tmp_path: Path):
    directory = DataDirectory(tmp_path / "data")
    directory.prepare()
    journal, ledger = ingest._open(Config.model_validate({"pipelines": PIPELINES}), directory)
    await journal.append(batch(3))
    accounts = ledger.accounts()
    journal.close()
    ledger.close()
    assert [(each.pipeline, each.active, each.base) for each in accounts] == [("a", True, 1), ("b", True, 1)]


@pytest.mark.parametrize(("pipelines", "left"), [(["a", "b"], 3), (["a"], 0), ([], 0)])
async def test_what_every_active_pipeline_has_done_with_is_evicted(tmp_path: Path, pipelines, left):
    journal, ledger = MemoryJournal(retention=0, clock=lambda: 1.0), MemoryLedger()
    ledger.register(pipelines, 1, 1)
    await journal.append(batch(2))
    await journal.append(batch(3))
    if "a" in pipelines:
        ledger.commit([Update("a", Progress(6), delivered=5)])
    if "b" in pipelines:
        ledger.commit([Update("b", Progress(4), delivered=3)])
    evicting = asyncio.create_task(ingest._look_after(DataDirectory(tmp_path), room(journal, ledger)))
    await asyncio.sleep(0)
    evicting.cancel()
    assert journal.head() - journal.oldest() == left


@pytest.mark.parametrize("name", ["journal", "ledger"])
async def test_damage_that_a_reader_has_met_ends_the_role_so_that_it_is_fixed(tmp_path: Path, name: str):
    directory = DataDirectory(tmp_path)
    recovery.note_damage(getattr(directory, name), "the image is malformed")
    with pytest.raises(JournalDamaged, match="the image is malformed"):
        await ingest._look_after(directory, room(MemoryJournal(), MemoryLedger()))
