"""The configuration in force is kept beside what is wrong with a later one."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditflow.apps.configuration.active import ActiveConfiguration, ConfigFile, Following
from auditflow.config import Config
from auditflow.errors import ConfigError, JournalUnavailable, Problem

GOOD = b"pipelines: [{name: a, sink: {name: logging_sink}}]\n"


@pytest.fixture
def active_configuration(tmp_path: Path) -> ActiveConfiguration:
    return ActiveConfiguration(tmp_path / "config", copies=True)


def test_before_anything_is_kept_there_is_nothing(active_configuration):
    assert active_configuration.text() is None
    assert active_configuration.state() == {"loadedAt": None, "problems": []}


def test_what_is_kept_has_no_problems_and_says_since_when(active_configuration):
    active_configuration.keep(GOOD)
    active_configuration.refuse([Problem("/etc/auditflow.yaml", 3, 4, "pipelines", "wrong", "do so")])
    since = active_configuration.state()["loadedAt"]
    assert active_configuration.text() == GOOD
    assert active_configuration.state()["problems"] == [
        {"file": "auditflow.yaml", "line": 3, "column": 4, "path": "pipelines", "message": "wrong", "hint": "do so"}
    ]  # fmt: skip
    active_configuration.keep(b"{}")
    assert (active_configuration.text(), active_configuration.state()["problems"]) == (b"{}", [])
    assert active_configuration.state()["loadedAt"] >= since > 1_700_000_000_000


def test_it_is_for_its_owner_alone(active_configuration):
    active_configuration.keep(GOOD)
    assert (
        active_configuration.copy.stat().st_mode & 0o077
        == active_configuration.copy.parent.stat().st_mode & 0o077
        == 0
    )


def test_a_role_of_its_own_keeps_no_copy(tmp_path):
    active_configuration = ActiveConfiguration(tmp_path / "config", copies=False)
    active_configuration.keep(b"secret")
    assert (active_configuration.text(), active_configuration.state()["problems"]) == (None, [])
    assert [path.name for path in (tmp_path / "config").iterdir()] == ["state.json"]


def test_a_disk_that_refuses_leaves_the_old_one(active_configuration):
    active_configuration.keep(GOOD)
    active_configuration.copy.with_suffix(".draft").mkdir()
    with pytest.raises(JournalUnavailable):
        active_configuration.keep(b"{}")
    assert active_configuration.text() == GOOD


def test_a_state_that_cannot_be_read_is_none(active_configuration):
    active_configuration.keep(GOOD)
    (active_configuration.copy.parent / "state.json").write_text("{")
    assert active_configuration.state() == {"loadedAt": None, "problems": []}


def test_a_content_is_loaded_as_that_of_its_file(tmp_path):
    file = ConfigFile(tmp_path / "auditflow.yaml")
    assert file.read() is None
    config, catalogue = file.load(GOOD)
    assert ([each.name for each in config.pipelines], "logging_sink" in catalogue.sinks) == (["a"], True)
    with pytest.raises(ConfigError, match="there is no such file"):
        file.load(None)
    with pytest.raises(ConfigError, match=r"auditflow\.yaml:1:1"):
        file.load(b"pipes: []")


def test_who_follows_has_a_changed_configuration_at_once_and_keeps_the_last_good_one(active_configuration):
    active_configuration.keep(b"{}")
    following = Following(ConfigFile(Path("auditflow.yaml")), active_configuration.text, Config())

    def names() -> list[str]:
        return [pipeline.name for pipeline in following.config().pipelines]

    assert names() == []
    active_configuration.keep(GOOD)
    assert names() == ["a"]
    active_configuration.keep(GOOD.replace(b"logging_sink", b"no_such_sink"))
    assert names() == ["a"]
    active_configuration.keep(GOOD.replace(b"name: a", b"name: b"))
    assert names() == ["b"]
