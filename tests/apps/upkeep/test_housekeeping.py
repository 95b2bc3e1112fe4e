"""Dead letters stay within their limits, with a warning long before, and a full disk hinders nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from auditflow.apps.upkeep import housekeeping as module
from auditflow.apps.upkeep.housekeeping import DEAD_LETTERS_FULL, Housekeeping
from auditflow.config import Config
from auditflow.errors import JournalUnavailable
from auditflow.ledger import DeadLetter, Progress, Update
from auditflow.ledger.memory import MemoryLedger
from auditflow.ledger.receipts import receipt

HOUR = 3_600_000


class World:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.ledger.register(["a"], 1, 1)
        self.told: tuple[Any, str] | None = None
        self.limits: dict[str, Any] = {}
        self.purges: list[tuple[int, str]] = []
        self.now = int(time.time() * 1000)

    def dead_letters(self, count: int, age: int = 0) -> None:
        failed = self.now - age
        letters = [
            DeadLetter("a", n, "Bad", "no", b"{}", first_failed=failed, last_failed=failed)
            for n in range(count)
        ]
        self.ledger.commit([Update("a", Progress(1), letters=letters)])

    def config(self) -> Config:
        pipelines = [
            {"name": "a", "sink": {"name": "x"}},
            {"name": "off", "enabled": False, "sink": {"name": "x"}},
        ]
        return Config.model_validate({"pipelines": pipelines, "dead-letters": self.limits})

    def tell(self, pipeline: str, full: Any, warning: str) -> None:
        assert pipeline == "a"
        self.told = full and full.code, warning

    async def until(self, condition: Callable[[], object]) -> None:
        housekeeping = Housekeeping(self.ledger, self.config, self.tell)
        housekeeping.on_purge = lambda count, reason: self.purges.append((count, reason))
        working = asyncio.create_task(housekeeping.run())
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - a thread changes what is awaited
                await asyncio.sleep(0.005)
        working.cancel()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    return World()


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (7, (None, "")),
        (8, (None, "its dead letters are 80 % of dead-letters.max-count, 10")),
        (10, (DEAD_LETTERS_FULL, "its dead letters are 100 % of dead-letters.max-count, 10")),
    ],
)
async def test_many_letters_are_warned_of_and_too_many_stop_the_pipeline(world, count, told):
    world.limits = {"max-count": 10}
    world.dead_letters(count)
    await world.until(lambda: world.told is not None)
    assert world.told == told


async def test_room_made_or_a_limit_raised_lets_it_go_on(world, caplog):
    world.limits = {"max-count": 10}
    world.dead_letters(10)
    await world.until(lambda: world.told and world.told[0])
    world.limits = {"max-count": 100}
    await world.until(lambda: world.told == (None, ""))
    assert "100 % of dead-letters.max-count" in caplog.text


async def test_what_is_too_old_is_deleted_and_says_so_later(world, caplog):
    world.limits = {"max-age": "10h"}
    world.dead_letters(2, 11 * HOUR)
    world.dead_letters(1, HOUR)
    await world.until(
        lambda: "the dead letters of 2 events were older than dead-letters.max-age" in caplog.text
    )
    assert len(world.ledger.dead_letters()) == 1
    assert world.purges == [(2, "older than dead-letters.max-age")]
    assert '"purged":true' in world.ledger.receipt_of("a", 1).place


async def test_what_is_soon_too_old_is_warned_of(world):
    world.limits = {"max-age": "10h"}
    world.dead_letters(1, 9 * HOUR)
    await world.until(lambda: world.told is not None)
    assert "dead-letters.max-age on 20" in world.told[1]


async def test_without_a_limit_of_age_none_is_deleted(world):
    world.dead_letters(1, 9000 * HOUR)
    await world.until(lambda: world.told == (None, ""))
    assert len(world.ledger.dead_letters()) == 1


async def test_receipts_go_with_the_blocks_of_their_time(world):
    old, new = (
        receipt("a", [n], {}, at=world.now - age, attempts=1) for n, age in ((1, 25 * HOUR), (2, HOUR))
    )
    world.ledger.commit([Update("a", Progress(3), receipts=[old, new])])
    await world.until(lambda: world.ledger.receipt_of("a", 1) is None)
    assert world.ledger.receipt_of("a", 2) == new


async def test_a_disk_that_refuses_is_told_and_tried_again(world, monkeypatch, caplog):
    faults = [JournalUnavailable(path="ledger", reason="disk full")]
    forget = world.ledger.forget_receipts
    monkeypatch.setattr(
        world.ledger,
        "forget_receipts",
        lambda at: (faults and (_ for _ in ()).throw(faults.pop())) or forget(at),
    )
    world.dead_letters(1)
    await world.until(lambda: world.told is not None)
    assert "old receipts and dead letters stay" in caplog.text
