"""Processes that append until they are killed, and journals whose write-ahead log is not yet in the file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from auditflow.journal.sqlite.writer import SqliteJournal
from auditflow.testing.contracts.journal import DAY, PLENTY, batch, new_ids

Opener = Callable[..., SqliteJournal]


@pytest.fixture
def opened() -> Opener:
    """Open a journal with plenty of everything; closed after the test."""
    journals: list[SqliteJournal] = []

    def open_journal(path: Path, **settings) -> SqliteJournal:
        journals.append(
            SqliteJournal(path, **({"max_size": PLENTY, "retention": DAY, "dedup_window": DAY} | settings))
        )
        return journals[-1]

    yield open_journal
    for journal in journals:
        journal.close()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A journal as a crash leaves it: half in the file, half in the write-ahead log; and its events."""
    directory = tmp_path_factory.mktemp("crashed")
    live = SqliteJournal(directory / "live" / "journal.db", max_size=PLENTY, retention=DAY, dedup_window=DAY)
    events: list[bytes] = []

    async def append(blocks: int) -> None:
        for number in range(blocks):
            one = batch(new_ids(1 + number % 40), text="".join(new_ids(number % 13)))
            await live.append(one)
            events.extend(one.events)

    asyncio.run(append(60))
    live._connection.wal_checkpoint(mode=3)  # TRUNCATE
    asyncio.run(append(40))
    (directory / "journal").mkdir()
    for suffix in ("", "-wal", "-mark"):
        shutil.copy(directory / "live" / f"journal.db{suffix}", directory / "journal" / f"journal.db{suffix}")
    live.close()
    return directory / "journal", events
