"""What an operator asks reaches the delivery process, whenever it runs, and the answer finds its way back."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from auditflow.errors import CommandRefused, CommandWaits, JournalDamaged, JournalUnavailable
from auditflow.ledger import commands as module
from auditflow.ledger.commands import Commands, Values


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "commands")


def echo(name: str, values: Values) -> Values:
    return {"did": name, **values}


async def carried_out(commands: Commands, carry_out=echo) -> None:
    for _ in range(1000):
        if commands.carry_out(carry_out):
            return
        await asyncio.sleep(0.005)
    pytest.fail("no command came")


async def test_a_command_is_answered_and_leaves_nothing_behind(commands, tmp_path):
    answer, _ = await asyncio.gather(commands.ask("pause", pipeline="p"), carried_out(commands))
    assert answer == {"did": "pause", "pipeline": "p"}
    assert list((tmp_path / "commands").iterdir()) == []


async def test_commands_are_carried_out_in_the_order_they_were_asked(commands):
    done: list[str] = []

    def note(name: str, values: Values) -> Values:
        done.append(name)
        return {}

    asked = [asyncio.create_task(commands.ask(f"command-{number}")) for number in range(20)]
    await asyncio.sleep(0.05)
    commands.carry_out(note)
    await asyncio.gather(*asked)
    assert done == [f"command-{number}" for number in range(20)]


async def test_a_refusal_comes_back_with_its_reason_and_status(commands):
    def refuse(name: str, values: Values) -> Values:
        raise CommandRefused(reason="no pipeline named 'x' runs", status=404)

    with pytest.raises(CommandRefused, match="no pipeline named 'x' runs") as refused:
        await asyncio.gather(commands.ask("pause", pipeline="x"), carried_out(commands, refuse))
    assert refused.value.status == 404


async def test_an_unwritable_ledger_is_an_answer_too(commands):
    def fail(name: str, values: Values) -> Values:
        raise JournalUnavailable(path="ledger", reason="disk full")

    with pytest.raises(CommandRefused, match="disk full") as refused:
        await asyncio.gather(commands.ask("purge"), carried_out(commands, fail))
    assert refused.value.status == 503


async def test_without_a_delivery_process_the_command_is_kept_until_there_is_one(commands, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    with pytest.raises(CommandWaits) as waits:
        await commands.ask("pause", pipeline="p")
    assert "auditflow serve" in waits.value.hint
    done: list[Values] = []
    assert commands.carry_out(lambda name, values: done.append(values) or {}) == 1
    assert done == [{"pipeline": "p"}]


async def test_damage_ends_the_work_and_the_command_waits_for_the_next_start(commands, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)

    def damaged(name: str, values: Values) -> Values:
        raise JournalDamaged(path="ledger", reason="checksum")

    with pytest.raises(CommandWaits):
        await commands.ask("purge")
    with pytest.raises(JournalDamaged):
        commands.carry_out(damaged)
    assert commands.carry_out(echo) == 1


@pytest.mark.parametrize("fault", [KeyError("pipeline"), TypeError("speed"), OSError("disk")])
async def test_a_command_that_fails_in_any_way_is_answered_and_not_repeated(commands, fault):
    def fail(name: str, values: Values) -> Values:
        raise fault

    with pytest.raises(CommandRefused, match="cannot be carried out") as refused:
        await asyncio.gather(commands.ask("pause"), carried_out(commands, fail))
    assert refused.value.status == 503
    assert commands.carry_out(echo) == 0


async def test_an_answer_that_cannot_be_written_does_not_make_the_command_repeat(commands, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    with pytest.raises(CommandWaits):
        await commands.ask("replay")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", full)
    assert commands.carry_out(echo) == 1
    assert commands.carry_out(echo) == 0


def test_a_command_that_cannot_be_read_hinders_no_other(commands, tmp_path):
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "1.command").write_bytes(b"\xff{")
    (folder / "2.command").write_bytes(b'["pause",{}]')
    (folder / "3.command.draft").write_bytes(b'["pau')
    done: list[str] = []
    assert commands.carry_out(lambda name, _: done.append(name) or {}) == 2
    assert done == ["pause"]
    assert not list(folder.glob("*.command"))


async def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "commands").write_text("a file in its place")
    with pytest.raises(JournalUnavailable, match="commands"):
        await Commands(tmp_path / "commands").ask("pause")


async def test_an_answer_that_nobody_fetched_and_a_draft_of_a_crash_are_dropped_in_the_end(
    commands, tmp_path
):
    folder = tmp_path / "commands"
    folder.mkdir()
    old, young = folder / "1.answer", folder / "2.answer"
    for answer in (old, young):
        answer.write_bytes(b"{}")
    abandoned = folder / "3.command.draft"
    abandoned.write_bytes(b"[")
    for left in (old, abandoned):
        os.utime(left, (0, 0))
    await asyncio.gather(commands.ask("pause"), carried_out(commands))
    assert [path.name for path in folder.iterdir()] == ["2.answer"]


def test_without_a_folder_there_is_nothing_to_do(commands):
    assert commands.carry_out(echo) == 0


async def test_only_its_owner_may_read_a_command(commands, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    with pytest.raises(CommandWaits):
        await commands.ask("replay", event='{"extra":{"card":"4111"}}')
    (command,) = (tmp_path / "commands").iterdir()
    assert command.stat().st_mode & 0o077 == 0
    assert (tmp_path / "commands").stat().st_mode & 0o077 == 0


def test_commands_that_cannot_be_read_just_now_wait_and_are_looked_for_again(commands, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    commands.leave("pause", pipeline="a")
    monkeypatch.setattr(
        module, "UNSURE_NANOSECONDS", -(10**18)
    )  # nothing is looked at for having changed just now
    assert commands.waiting()
    assert not commands.waiting()
    with monkeypatch.context() as limited:
        limited.setattr(Path, "glob", full)
        assert commands.carry_out(echo) == 0
    assert commands.waiting()
    assert commands.carry_out(echo) == 1
