"""What is done to AuditFlow comes into the journal as events of `_platform`, each once, and whatever the journal does."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from auditflow.apps import operator_audit
from auditflow.apps.operator import Operator
from auditflow.apps.operator_audit import AuditedCommands, keep, refusals
from auditflow.errors import CommandRefused
from auditflow.ingest.admission import Admission, Quota
from auditflow.ingest.limits import Limits
from auditflow.ingest.operator_audit import ITSELF, OperatorAudit
from auditflow.ingest.publish import Publish
from auditflow.ingest.redaction.by_tenant import Redactions
from auditflow.ingest.redaction.config import RedactionConfig
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import DeadLetter, Progress, Selection, Update
from auditflow.ledger.commands import Commands
from auditflow.ledger.memory import MemoryLedger

AMARA = {"actor": "amara", "actorTenant": "acme", "peer": "10.0.0.7"}


@pytest.fixture
def own(tmp_path: Path) -> OperatorAudit:
    return OperatorAudit(tmp_path)


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["p"], 1, 1)
    letters = [DeadLetter("p", n, "Bad", "no", b'{"secret":"of acme"}', tenant="acme") for n in (1, 2)]
    ledger.commit([Update("p", Progress(3), letters=letters)])
    return ledger


@contextmanager
def keeping(own: OperatorAudit, publish: Publish) -> Iterator[None]:
    task = asyncio.create_task(keep([own], publish))
    yield
    task.cancel()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - files and the journal tell nobody
            await asyncio.sleep(0.01)


def stored(journal: MemoryJournal) -> list[dict[str, Any]]:
    return [json.loads(event) for block in journal.read(1, 2**20) for event in block.events]


def noted(own: OperatorAudit) -> list[tuple[str, dict[str, Any]]]:
    events = [json.loads(raw) for raw in own.waiting().values()]
    return [(event["eventType"].removeprefix("auditflow."), event["extra"]) for event in events]


async def test_what_was_noted_is_in_the_journal_soon_and_its_file_is_gone(own, journal):
    own.note("pipelines.paused", AMARA, pipeline="p")
    with keeping(own, Publish(journal, Limits())):
        await until(lambda: journal.head() == 2)
        own.note("pipelines.resumed", AMARA, pipeline="p")
        await until(lambda: journal.head() == 3)
        await until(lambda: own.count() == 0)
    (block, _) = journal.read(1, 2**20)
    assert dict(block.tenants) == {"_platform": 1}
    assert [event["extra"]["pipeline"] for event in stored(journal)] == ["p", "p"]
    assert all(event["timestamp"] >= event["eventTime"] for event in stored(journal))


async def test_an_event_that_a_crash_has_left_behind_is_not_stored_twice(own, journal, tmp_path):
    own.note("pipelines.paused", AMARA)
    shutil.copytree(tmp_path / "own-audit", tmp_path / "copy")
    with keeping(own, Publish(journal, Limits())):
        await until(lambda: own.count() == 0)
        shutil.copytree(tmp_path / "copy", tmp_path / "own-audit", dirs_exist_ok=True)
        await until(lambda: own.count() == 0)
    assert journal.head() == 2


async def test_events_wait_while_the_journal_is_full(own, journal):
    full = MemoryJournal(max_size=1_000)
    await full.append(AppendBatch([b"x" * 900], ["0190a0b0-0000-7000-8000-000000000000"], ["t"]))
    own.note("pipelines.paused", AMARA)
    publish = Publish(full, Limits())
    with keeping(own, publish):
        await until(publish.unavailable)
        assert own.count() == 1
        publish.journal = journal
        await until(lambda: own.count() == 0)
    assert journal.head() == 2


async def test_events_wait_while_the_platform_is_disabled_and_are_redacted_like_any(own, journal):
    class Tenant:
        enabled = False
        quota = Quota()

    rules = RedactionConfig.model_validate({"rules": [{"field": "extra.peer", "action": "mask"}]})
    admission = Admission({"_platform": Tenant()})
    publish = Publish(journal, Limits(), admission, Redactions(rules))
    own.note("pipelines.paused", AMARA)
    with keeping(own, publish):
        await asyncio.sleep(3 * operator_audit.LOOK_SECONDS)
        assert (own.count(), journal.head()) == (1, 1)
        admission.provision({})
        await until(lambda: own.count() == 0)
    assert stored(journal)[0]["extra"]["peer"] == "***"


async def test_what_is_no_event_is_set_aside_and_the_others_are_taken_in(own, journal, tmp_path, caplog):
    own.note("pipelines.paused", AMARA)
    (tmp_path / "own-audit" / "0.event").write_text("half an ev")
    with keeping(own, Publish(journal, Limits())):
        await until(lambda: journal.head() == 2 and not own.waiting())
    assert [path.name for path in (tmp_path / "own-audit").iterdir()] == ["0.refused"]
    assert "is set aside" in caplog.text


@pytest.fixture
def carried_out(ledger, own, tmp_path) -> Callable[..., Any]:
    """Give a function that leaves a command and carries it out."""

    async def reload() -> list[str]:
        return ["p"]

    async def carried_out(name: str, **values: Any) -> Any:
        operator = Operator(Commands(tmp_path), MemoryJournal(), ledger, lambda accounts: None, reload)
        commands = AuditedCommands(tmp_path / "commands", own)
        asked = asyncio.create_task(commands.ask(name, **values))
        await asyncio.sleep(0)
        await asyncio.to_thread(commands.carry_out, operator.carry_out)
        return await asked

    return carried_out


async def test_what_operators_do_is_noted_with_who_asked_and_what_it_came_to(carried_out, own):
    selection = asdict(Selection(tenant="acme"))
    await carried_out("pause", pipeline="p", by=AMARA)
    await carried_out("resume", pipeline="p")
    await carried_out("replay", selection=selection, replay={"rate": 5.0}, by=AMARA)
    await carried_out("purge", selection=selection, by=AMARA)
    await carried_out("deliver-again", pipeline="p", since=1, until=2, asked="x", by=AMARA)
    await carried_out("reload", by=AMARA)
    chosen = {"selection": {"tenant": "acme"}}
    assert noted(own) == [
        ("pipelines.paused", AMARA | {"outcome": "success", "pipeline": "p"}),
        ("pipelines.resumed", ITSELF | {"outcome": "success", "pipeline": "p"}),
        ("dead-letters.replayed", AMARA | chosen | {"outcome": "success", "rate": 5.0, "count": 2}),
        ("dead-letters.purged", AMARA | chosen | {"outcome": "success", "count": 0}),
        ("journal.replayed", AMARA | {"outcome": "success", "pipeline": "p", "since": 1, "until": 2, "count": 0}),
        ("configuration.reloaded", AMARA | {"outcome": "success", "changed": ["p"]}),
    ]  # fmt: skip


async def test_an_edited_letter_is_noted_without_what_it_holds(carried_out, own):
    chosen = asdict(Selection(pipeline="p", ids=[1]))
    await carried_out("replay", selection=chosen, replay={"event": '{"secret":"new"}'}, by=AMARA)
    ((what, extra),) = noted(own)
    assert (what, extra["count"], extra["selection"]) == (
        "dead-letters.edited",
        1,
        {"pipeline": "p", "ids": [1]},
    )
    assert "secret" not in json.dumps(extra)


async def test_what_was_refused_is_noted_with_why(carried_out, own):
    with pytest.raises(CommandRefused):
        await carried_out("pause", pipeline="nobody", by=AMARA)
    ((what, extra),) = noted(own)
    assert (what, extra["outcome"], extra["pipeline"]) == ("pipelines.paused", "refused", "nobody")
    assert "No pipeline named 'nobody' runs" in extra["reason"]


async def test_refused_calls_are_noted_until_too_many_wait(own, monkeypatch):
    refused = refusals(own)
    refused("key", "10.0.0.9")
    await until(own.waiting)
    assert noted(own) == [("calls.refused", {"peer": "10.0.0.9", "outcome": "refused", "reason": "key"})]
    monkeypatch.setattr(operator_audit, "MOST_REFUSALS", 1)
    refused("key", "10.0.0.10")
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert own.count() == 1
