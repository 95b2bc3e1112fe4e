"""Commands change the ledger, and the pipelines are told."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from auditflow.apps.operator import Operator
from auditflow.errors import CommandRefused
from auditflow.journal import Account, Letter, Progress, Selection, Update
from auditflow.journal.commands import Commands
from auditflow.journal.memory import MemoryLedger

ALL = asdict(Selection())


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.register(["a", "b", "old"], 1, 1)
    for name in ("a", "b", "old"):
        ledger.commit([Update(name, Progress(2), letters=[Letter(name, 1, "Bad", "no", b"{}")])])
    ledger.register(["a", "b"], 2, 1)
    return ledger


@pytest.fixture
def operator(ledger, tmp_path) -> Operator:
    return Operator(Commands(tmp_path), ledger, lambda accounts: None)


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
    assert [(one.pipeline, one.rate) for one in ledger.letters() if one.target] == [("a", 5.0), ("b", 5.0)]


def test_letters_of_a_pipeline_that_is_gone_go_to_another(operator, ledger):
    order = {"selection": ALL | {"pipeline": "old"}, "replay": {"to": "b"}}
    assert operator.carry_out("replay", order) == {"replayed": 1}
    assert [one.pipeline for one in ledger.to_replay("b")] == ["old"]


def test_letters_are_purged_while_others_are_replayed(operator, ledger):
    operator.carry_out("replay", {"selection": ALL | {"pipeline": "a"}, "replay": {}})
    assert operator.carry_out("purge", {"selection": ALL}) == {"purged": 2}
    assert [one.pipeline for one in ledger.letters()] == ["a"]


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
    assert [letter.target for letter in ledger.letters()] == ["", "", ""]


async def test_the_pipelines_are_told_after_a_command(ledger, tmp_path):
    told: asyncio.Queue[list[Account]] = asyncio.Queue()
    commands = Commands(tmp_path)
    working = asyncio.create_task(Operator(commands, ledger, told.put_nowait).run())
    await commands.ask("pause", pipeline="b")
    accounts = await asyncio.wait_for(told.get(), 5)
    working.cancel()
    assert [account.pipeline for account in accounts if account.paused] == ["b"]
