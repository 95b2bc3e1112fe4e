import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditflow import __version__, sinks
from auditflow.plugins import discover

Run = Callable[..., Any]


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "my_sink.py").write_text(
        '"""Sends far away."""\n__version__ = "7.1"\nPROPERTIES = {"to": "Where to."}\ndef process(e, p): return {}\n'
    )
    (tmp_path / "sinks" / "bad_sink.py").write_text("import not_there_at_all\n")
    return tmp_path


def test_the_catalogue_shows_every_sink_and_why_others_are_broken(auditflow: Run, plugins: Path) -> None:
    answer = auditflow("sinks", "--plugins", plugins)
    assert answer.code == 0
    for line in (
        ["logging_sink", __version__, "built-in"],
        ["my_sink", "7.1", str(plugins / "sinks" / "my_sink.py"), "Sends", "far", "away."],
    ):
        assert any(printed.split()[: len(line)] == line for printed in answer.out.splitlines())
    assert f"broken sink bad_sink, from {plugins / 'sinks' / 'bad_sink.py'}:" in answer.out
    assert "No module named 'not_there_at_all'" in answer.out


def test_a_built_in_sink_that_cannot_be_imported_is_shown_as_broken(
    auditflow: Run, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plugins / "half_installed_sink.py").write_text("import not_there_at_all\n")
    monkeypatch.setattr(sinks, "__path__", [*sinks.__path__, str(plugins)])
    answer = auditflow("sinks")
    assert answer.code == 0
    assert "broken sink half_installed_sink, from built-in:" in answer.out


def test_the_catalogue_comes_as_json_too(auditflow: Run, plugins: Path) -> None:
    catalogue = json.loads(auditflow("sinks", "--plugins", plugins, "--format", "json").out)
    assert {"name": "my_sink", "version": "7.1", "origin": str(plugins / "sinks" / "my_sink.py"), "description": "Sends far away."} in catalogue["sinks"]  # fmt: skip
    assert [broken["name"] for broken in catalogue["broken"]] == ["bad_sink"]


@pytest.mark.parametrize("name", sorted(discover().sinks))
def test_a_sink_is_shown_with_every_property(auditflow: Run, name: str) -> None:
    answer = auditflow("sinks", name)
    assert answer.code == 0
    for info in discover().get_sink(name).properties():
        [row] = [line for line in answer.out.splitlines() if line.split()[:1] == [info.name]]
        assert info.type in row
        assert info.default in row
        assert info.description in row


def test_a_sink_comes_as_json_too(auditflow: Run) -> None:
    sink = json.loads(auditflow("sinks", "aws_cloudwatch_sink", "--format", "json").out)
    properties = {property_["name"]: property_ for property_ in sink["properties"]}
    assert properties["log-group"]["required"]
    assert properties["secret-access-key"]["secret"]
    assert (properties["create-log-group"]["type"], properties["create-log-group"]["default"]) == (
        "boolean",
        "true",
    )


def test_the_properties_of_a_drop_in_sink_are_the_declared_ones(auditflow: Run, plugins: Path) -> None:
    answer = auditflow("sinks", "my_sink", "--plugins", plugins)
    assert answer.code == 0
    assert "Where to." in answer.out


def test_an_unknown_sink_gets_a_suggestion_and_a_broken_one_its_reason(auditflow: Run, plugins: Path) -> None:
    unknown = auditflow("sinks", "loging_sink")
    assert (unknown.code, unknown.out) == (1, "")
    assert "did you mean logging_sink?" in unknown.err
    broken = auditflow("sinks", "bad_sink", "--plugins", plugins)
    assert broken.code == 1
    assert "No module named 'not_there_at_all'" in broken.err
