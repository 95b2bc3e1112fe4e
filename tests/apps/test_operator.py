"""Commands change the ledger, and the pipelines are told."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from uuid import uuid4

import pytest

from auditflow.apps.operator import Operator
from auditflow.errors import CommandRefused, ConfigError, Problem
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Account, DeadLetter, Progress, Selection, Update
from auditflow.ledger.commands import Commands
from auditflow.ledger.memory import MemoryLedger

ALL = asdict(Selection())


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["a", "b", "old"], 1, 1)
    for name in ("a", "b", "old"):
        ledger.commit([Update(name, Progress(2), letters=[DeadLetter(name, 1, "Bad", "no", b"{}")])])
    ledger.register(["a", "b"], 2, 1)
    return ledger


async def reloaded() -> list[str]:
    return ["a"]


@pytest.fixture
async def operator(ledger, tmp_path) -> Operator:
    return Operator(Commands(tmp_path), MemoryJournal(), ledger, lambda accounts: None, reloaded)


def paused(ledger) -> dict[str, bool]:
    return {account.pipeline: account.paused for account in ledger.accounts()}


def test_a_pipeline_is_paused_and_resumed(operator, ledger):
    assert operator.carry_out("pause", {"pipeline": "a"}) == {"pipeline": "a", "paused": True}
    assert paused(ledger) == {"a": True, "b": False, "old": False}
    operator.carry_out("pause", {"pipeline": "a"})
    assert operator.carry_out("resume", {"pipeline": "a"}) == {"pipeline": "a", "paused": False}
    assert paused(ledger) == {"a": False, "b": False, "old": False}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pause", {"pipeline": "old"}),
        ("resume", {"pipeline": "nobody"}),
        ("replay", {"selection": ALL | {"pipeline": "old"}, "replay": {}}),
        ("replay", {"selection": ALL, "replay": {"to": "old"}}),
    ],
)
def test_a_pipeline_that_does_not_run_is_refused_with_those_that_do(operator, name, values):
    with pytest.raises(CommandRefused, match="those that do: a, b") as refused:
        operator.carry_out(name, values)
    assert refused.value.status == 404


def test_an_unknown_command_is_refused(operator):
    with pytest.raises(CommandRefused, match="'reboot'"):
        operator.carry_out("reboot", {})


def test_letters_are_replayed_by_the_pipelines_that_run(operator, ledger):
    assert operator.carry_out("replay", {"selection": ALL, "replay": {"rate": 5.0}}) == {"replayed": 2}
    assert [(one.pipeline, one.rate) for one in ledger.dead_letters() if one.target] == [
        ("a", 5.0),
        ("b", 5.0),
    ]


def test_letters_of_a_pipeline_that_is_gone_go_to_another(operator, ledger):
    order = {"selection": ALL | {"pipeline": "old"}, "replay": {"to": "b"}}
    assert operator.carry_out("replay", order) == {"replayed": 1}
    assert [one.pipeline for one in ledger.to_replay("b")] == ["old"]


def test_letters_are_purged_while_others_are_replayed(operator, ledger):
    operator.carry_out("replay", {"selection": ALL | {"pipeline": "a"}, "replay": {}})
    assert operator.carry_out("purge", {"selection": ALL}) == {"purged": 2}
    assert [one.pipeline for one in ledger.dead_letters()] == ["a"]


@pytest.mark.parametrize(
    "command",
    [
        b'["pause",{}]',
        b'["replay",{"selection":{},"replay":{"speed":1}}]',
        b'["purge",{"selection":{"colour":"red"}}]',
        b'["purge",{"selection":null}]',
    ],
)
def test_a_misshapen_command_changes_nothing_and_hinders_no_other(operator, ledger, tmp_path, command):
    (tmp_path / "1.command").write_bytes(command)
    (tmp_path / "2.command").write_bytes(b'["pause",{"pipeline":"b"}]')
    assert Commands(tmp_path).carry_out(operator.carry_out) == 2
    assert paused(ledger) == {"a": False, "b": True, "old": False}
    assert [letter.target for letter in ledger.dead_letters()] == ["", "", ""]


async def test_the_pipelines_are_told_after_a_command(ledger, tmp_path):
    told: asyncio.Queue[list[Account]] = asyncio.Queue()
    commands = Commands(tmp_path)
    working = asyncio.create_task(
        Operator(commands, MemoryJournal(), ledger, told.put_nowait, reloaded).run()
    )
    await commands.ask("pause", pipeline="b")
    accounts = await asyncio.wait_for(told.get(), 60)
    working.cancel()
    assert [account.pipeline for account in accounts if account.paused] == ["b"]


async def test_a_stretch_of_the_journal_is_entered_once_however_often_it_is_asked_for(ledger, tmp_path):
    journal = MemoryJournal(clock=lambda: 5.0)
    await journal.append(AppendBatch([b"{}"] * 3, [str(uuid4()) for _ in range(3)], [""] * 3))
    operator = Operator(Commands(tmp_path), journal, ledger, lambda accounts: None, reloaded)
    order = {"pipeline": "a", "since": 5000, "until": 6000, "asked": "x"}
    for _ in range(2):
        assert operator.carry_out("deliver-again", order) == {"pipeline": "a", "events": 3}
    assert operator.carry_out("deliver-again", order | {"until": 5000, "asked": "y"})["events"] == 0
    assert [
        [replay_range.pending for replay_range in account.replay_ranges] for account in ledger.accounts()
    ] == [[3], [], []]
    with pytest.raises(CommandRefused, match="those that do: a, b"):
        operator.carry_out("deliver-again", order | {"pipeline": "old"})


async def test_a_reload_is_done_on_the_event_loop_and_a_refusal_tells_every_problem(ledger, tmp_path):
    problems = [Problem("a.yaml", 1, n, "x", f"wrong {n}") for n in (1, 2)]

    async def refused() -> list[str]:
        raise ConfigError(problems=problems)

    commands = Commands(tmp_path)
    for reload, expected in ((reloaded, ["a"]), (refused, None)):
        operator = Operator(commands, MemoryJournal(), ledger, lambda accounts: None, reload)
        working = asyncio.create_task(operator.run())
        if expected:
            assert (await commands.ask("reload"))["changed"] == expected
        else:
            with pytest.raises(CommandRefused, match=r"(?s)stays as it was.*wrong 1.*wrong 2"):
                await commands.ask("reload")
        working.cancel()
