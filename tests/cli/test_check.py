import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

GOOD = "pipelines:\n- {name: a, sink: {name: logging_sink}}\n"
BAD = "pipelines:\n- {name: a, sink: {name: loging_sink}}\nserver: {prot: 1}\n"


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sound_file_is_said_to_be_one(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(GOOD + "- {name: b, sink: {name: logging_sink}}\n")
    answer = auditflow("check")
    assert (answer.code, answer.out) == (0, "auditflow.yaml: 2 pipelines, no problems\n")


def test_all_problems_are_printed_with_their_place_and_hint(auditflow: Run) -> None:
    Path("bad.yaml").write_text(BAD)
    answer = auditflow("check", "bad.yaml")
    assert answer.code == 1
    assert (
        answer.out.splitlines()[0]
        == "bad.yaml:2:26: pipelines[0].sink.name: There is no sink named 'loging_sink'."
    )
    assert answer.out.splitlines()[2:] == [
        "bad.yaml:3:10: server.prot: unknown property",
        "    hint: did you mean port?",
    ]


def test_several_files_are_checked_each_on_its_own(auditflow: Run) -> None:
    Path("good.yaml").write_text(GOOD)
    Path("same.yaml").write_text(GOOD)
    assert auditflow("check", "good.yaml", "same.yaml").code == 0
    Path("bad.yaml").write_text(BAD)
    answer = auditflow("check", "bad.yaml", "good.yaml")
    assert answer.code == 1
    assert answer.out.endswith("good.yaml: 1 pipeline, no problems\n")


def test_problems_come_as_json_too(auditflow: Run) -> None:
    Path("bad.yaml").write_text(BAD)
    Path("good.yaml").write_text(GOOD)
    answer = auditflow("check", "--format", "json", "good.yaml", "bad.yaml")
    assert answer.code == 1
    good, bad = json.loads(answer.out)["files"]
    assert good == {"file": "good.yaml", "pipelines": 1, "tenants": 0, "problems": [], "warnings": []}
    assert bad["problems"][1] == {
        "file": "bad.yaml",
        "line": 3,
        "column": 10,
        "path": "server.prot",
        "message": "unknown property",
        "hint": "did you mean port?",
    }


CREATES_A_GROUP = """\
pipelines:
- name: a
  sink: {name: aws_cloudwatch_sink, properties: {log-group: /acme/a, retention-in-days: 30}}
"""


def test_warnings_follow_the_good_news_and_fail_nothing(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(CREATES_A_GROUP)
    answer = auditflow("check")
    assert answer.code == 0
    first, warning, hint = answer.out.splitlines()
    assert first == "auditflow.yaml: 1 pipeline, no problems"
    assert warning.startswith(
        "auditflow.yaml:3:3: pipelines[0].sink: warning: the sink may create its log group "
    )
    assert hint.startswith("    hint: set kms-key-id")


def test_warnings_come_as_json_too(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(CREATES_A_GROUP)
    answer = auditflow("check", "--format", "json")
    assert answer.code == 0
    (file,) = json.loads(answer.out)["files"]
    assert (file["pipelines"], file["problems"]) == (1, [])
    (warning,) = file["warnings"]
    assert set(warning) == {"file", "line", "column", "path", "message", "hint"}
    assert (warning["line"], warning["column"], warning["path"]) == (3, 3, "pipelines[0].sink")
    assert "kms-key-id" in warning["message"]


def test_a_file_with_problems_has_no_warnings(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(CREATES_A_GROUP + "server: {prot: 1}\n")
    answer = auditflow("check")
    assert answer.code == 1
    assert "warning" not in answer.out


def test_a_file_that_is_not_there_is_a_problem(auditflow: Run) -> None:
    answer = auditflow("check")
    assert answer.code == 1
    assert "auditflow.yaml:1:1: the file cannot be read: there is no such file" in answer.out


def test_variables_come_from_the_environment(auditflow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("auditflow.yaml").write_text(GOOD.replace("name: a", "name: '${PIPELINE_NAME}'"))
    assert auditflow("check").code == 1
    monkeypatch.setenv("PIPELINE_NAME", "fine")
    assert auditflow("check").code == 0


def test_plugins_come_from_the_flag_or_its_variable(auditflow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("auditflow.yaml").write_text(GOOD.replace("logging_sink", "my_sink"))
    Path("mine/sinks").mkdir(parents=True)
    Path("mine/sinks/my_sink.py").write_text("def process(event_data, properties): return {}\n")
    assert auditflow("check").code == 1
    assert auditflow("check", "--plugins", "mine").code == 0
    monkeypatch.setenv("AUDITFLOW_PLUGINS", "mine")
    assert auditflow("check").code == 0
    assert auditflow("check", "--plugins", "nowhere").code == 2


def test_the_file_may_come_from_its_variable(auditflow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.yaml").write_text(GOOD)
    monkeypatch.setenv("AUDITFLOW_CONFIG", "other.yaml")
    assert auditflow("check").out == "other.yaml: 1 pipeline, no problems\n"


def test_the_files_of_tenants_are_checked_with_the_file_that_names_their_folder(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(GOOD + "tenants: {directory: tenants/}\n")
    Path("tenants").mkdir()
    Path("tenants/acme.yaml").write_text("tenantId: acme\n" + GOOD)
    answer = auditflow("check")
    assert (answer.code, answer.out) == (0, "auditflow.yaml: 1 pipeline, 1 tenant, no problems\n")
    Path("tenants/other.yaml").write_text("tenantId: other\nenabeld: true\n")
    answer = auditflow("check")
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "tenants/other.yaml:2:1: enabeld: unknown property",
        "    hint: did you mean enabled?",
    ]
