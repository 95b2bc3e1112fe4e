"""A changed file is put in force whole or not at all; what is wrong with it is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditflow.apps.configuration import reload as module
from auditflow.apps.configuration.active import ActiveConfiguration, ConfigFile
from auditflow.apps.configuration.reload import Reload
from auditflow.config import running
from auditflow.errors import ConfigError, JournalUnavailable, MissingExtra

PIPELINE = "pipelines: [{name: %s, sink: {name: logging_sink}}]\n"
OFF = "pipelines: [{name: a, enabled: false, sink: {name: logging_sink}}]\n"


class World:
    """A file, what of it is in force, and what delivery was told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "auditflow.yaml"
        self.path.write_text(PIPELINE % "a")
        self.active_configuration = ActiveConfiguration(folder / "config", copies=True)
        self.file = ConfigFile(self.path)
        self.text = self.file.read()
        self.active_configuration.keep(self.text)
        self.told: list[list[str]] = []
        self.fault: Exception | None = None

    def reload(self) -> Reload:
        return Reload(
            self.file, self.active_configuration, self.text, *self.file.load(self.text), self.change
        )

    async def change(self, config, catalogue) -> list[str]:
        if self.fault:
            raise self.fault
        self.told.append([each.name for each in running(config, None)])
        return self.told[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - files are looked at, too
                await asyncio.sleep(0.005)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    return World(tmp_path)


async def test_what_the_file_says_now_is_put_in_force(world):
    reload = world.reload()
    world.path.write_text(PIPELINE % "b")
    assert await reload.reload() == ["b"]
    assert world.active_configuration.text() == (PIPELINE % "b").encode()
    assert [each.name for each in reload.config.pipelines] == ["b"]


async def test_pipelines_that_are_not_enabled_are_not_delivered_to(world):
    world.path.write_text(OFF)
    assert await world.reload().reload() == []


@pytest.mark.parametrize("text", ["pipelines: [", PIPELINE % "a" + "pipes: []\n", "", None])
async def test_a_broken_file_changes_nothing_and_is_noted(world, text):
    reload = world.reload()
    world.path.write_text(text) if text is not None else world.path.unlink()
    with pytest.raises(ConfigError):
        await reload.reload()
    assert (world.told, world.active_configuration.text()) == ([], world.text)
    assert [each["file"] for each in world.active_configuration.state()["problems"]] == ["auditflow.yaml"]
    world.path.write_bytes(world.text)
    await reload.reload()
    assert world.active_configuration.state()["problems"] == []


@pytest.mark.parametrize(
    "section", ["server: {port: 1}", "journal: {retention: 1h}", "server: {max-event-bytes: 1MB}"]
)
async def test_what_only_a_restart_changes_is_refused_with_its_place(world, section):
    world.path.write_text(PIPELINE % "b" + section + "\n")
    with pytest.raises(ConfigError) as refused:
        await world.reload().reload()
    (problem,) = refused.value.problems
    assert (problem.line, problem.path, problem.hint) == (
        2, section.partition(":")[0], "restart AuditFlow, or take this change back",
    )  # fmt: skip
    assert world.told == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (MissingExtra(what="x", package="y", extra="z"), "needs the Python package y"),
        (RuntimeError("no such thing"), "RuntimeError: no such thing"),
    ],
)
async def test_what_hinders_delivery_changes_nothing_and_is_noted(world, fault, said):
    world.fault = fault
    world.path.write_text(PIPELINE % "b")
    with pytest.raises(ConfigError):
        await world.reload().reload()
    assert world.active_configuration.text() == world.text
    assert said in world.active_configuration.state()["problems"][0]["message"]


async def test_a_change_of_the_file_is_seen_once_it_stands_still(world, caplog):
    caplog.set_level("INFO")
    watching = asyncio.create_task(world.reload().watch(asyncio.Event()))
    await asyncio.sleep(0.06)
    assert world.told == []
    world.path.write_text(PIPELINE % "b")
    await world.until(lambda: world.told == [["b"]])
    world.path.write_text("{")
    await world.until(lambda: world.active_configuration.state()["problems"])
    await asyncio.sleep(0.06)
    watching.cancel()
    assert caplog.text.count("the configuration stays as it was") == 1


async def test_what_came_of_changed_files_is_told_and_what_a_command_came_to_is_its_answer(world):
    told: list[tuple[str, dict[str, Any]]] = []
    reload = world.reload()
    reload.on_change = lambda what, **facts: told.append((what, facts))
    watching = asyncio.create_task(reload.watch(asyncio.Event()))
    await asyncio.sleep(0.06)
    world.path.write_text(PIPELINE % "b")
    await world.until(lambda: len(told) == 1)
    world.path.write_text("{")
    await world.until(lambda: len(told) == 2)
    watching.cancel()
    await reload.refresh()
    world.path.write_text(PIPELINE % "c")
    await reload.reload()
    assert [(what, facts["outcome"], facts.get("changed")) for what, facts in told] == [
        ("configuration.reloaded", "success", ["b"]),
        ("configuration.reloaded", "refused", None),
        ("tenants.reloaded", "success", ["b"]),
    ]
    assert "auditflow.yaml:" in told[1][1]["reason"]


async def test_a_change_from_before_the_start_is_seen_too(world):
    world.path.write_text(PIPELINE % "b")
    watching = asyncio.create_task(world.reload().watch(asyncio.Event()))
    await world.until(lambda: world.told)
    watching.cancel()
    assert world.told == [["b"]]


async def test_who_wants_it_does_not_wait_for_a_change(world, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600)
    wanted = asyncio.Event()
    watching = asyncio.create_task(world.reload().watch(wanted))
    await asyncio.sleep(0)
    wanted.set()
    await world.until(lambda: world.told)
    watching.cancel()
    assert world.told == [["a"]]


async def test_a_disk_that_refuses_changes_nothing(world):
    world.active_configuration.copy.with_suffix(".draft").mkdir()
    world.path.write_text(PIPELINE % "b")
    with pytest.raises(ConfigError, match="cannot be written"):
        await world.reload().reload()
    assert (world.told, world.active_configuration.text()) == ([], world.text)


@pytest.mark.parametrize("text", ["pipelines:\n", "{}\n", "null\n", "delivery: {max-attempts: 3}\n"])
async def test_a_file_that_takes_every_pipeline_away_without_saying_so_is_refused(world, text):
    reload = world.reload()
    world.path.write_text(text)
    with pytest.raises(ConfigError, match=r"no pipelines any more|empty"):
        await reload.reload()
    assert [each.name for each in reload.config.pipelines] == ["a"]
    assert world.told == []
    world.path.write_text("pipelines: []\n")
    assert await reload.reload() == []
    world.path.write_text(text.replace("null", "{}"))
    assert await reload.reload() == [], "there were none before, either"


async def test_a_file_that_could_not_be_read_is_read_once_it_can_be(world, monkeypatch):
    reload = world.reload()
    world.path.write_text(PIPELINE % "b")
    with monkeypatch.context() as patched:
        patched.setattr(ConfigFile, "read", lambda self: None)
        patched.setattr(ConfigFile, "load", lambda self, text: (_ for _ in ()).throw(PermissionError("no")))
        with pytest.raises(ConfigError):
            await reload.reload()
    watching = asyncio.create_task(reload.watch(asyncio.Event()))
    await world.until(lambda: world.told == [["b"]])
    watching.cancel()


async def test_what_a_full_disk_hindered_is_tried_again_and_said_once(world, caplog):
    world.fault = JournalUnavailable(path="x", reason="the disk is full")
    reload = world.reload()
    watching = asyncio.create_task(reload.watch(asyncio.Event()))
    world.path.write_text(PIPELINE % "b")
    await world.until(lambda: "the disk is full" in caplog.text)
    await asyncio.sleep(5 * module.LOOK_SECONDS)
    world.fault = None
    await world.until(lambda: world.told == [["b"]])
    watching.cancel()
    assert caplog.text.count("the configuration stays as it was") == 1


async def test_tenants_that_a_full_disk_hindered_are_to_be_tried_again(world, caplog):
    reload = world.reload()
    world.fault = JournalUnavailable(path="x", reason="the disk is full")
    assert [await reload.refresh(), await reload.refresh()] == [False, False]
    assert caplog.text.count("the tenants' pipelines stay as they were") == 1
    assert "Traceback" not in caplog.text
    world.fault = None
    assert await reload.refresh() is True
