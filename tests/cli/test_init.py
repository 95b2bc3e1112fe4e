"""`auditflow init` writes a configuration that is valid as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def test_what_it_writes_is_valid_and_has_its_schema(auditflow) -> None:
    answer = auditflow("init")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0] == "wrote auditflow.yaml, and auditflow.schema.json for your editor"
    assert len(answer.out.split("next:")[1].strip().splitlines()) == 3
    assert auditflow("check").out == "auditflow.yaml: 1 pipeline, no problems\n"
    assert "pipelines" in json.loads(Path("auditflow.schema.json").read_text())["properties"]
    assert (
        Path("auditflow.yaml")
        .read_text()
        .startswith("# yaml-language-server: $schema=auditflow.schema.json\n")
    )


def test_with_aws_in_the_environment_it_writes_to_cloudwatch(auditflow, monkeypatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "audit")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    auditflow("init")
    (pipeline,) = yaml.safe_load(Path("auditflow.yaml").read_text())["pipelines"]
    assert pipeline["sink"]["name"] == "aws_cloudwatch_sink"
    assert pipeline["sink"]["properties"]["region"] == "eu-central-1"
    assert auditflow("check").code == 0


def test_what_is_commented_out_is_valid_too(auditflow) -> None:
    auditflow("init")
    text = Path("auditflow.yaml").read_text()
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if "- name: failed-logins" in line)
    whole = [line.replace("# ", "", 1) if i >= start else line for i, line in enumerate(lines)]
    Path("whole.yaml").write_text("\n".join(whole).replace("${WEBHOOK_SECRET}", "s3cr3t-s3cr3t-s3cr3t"))
    answer = auditflow("check", "whole.yaml")
    assert "no problems" in answer.out, answer.out


def test_a_file_that_is_there_stays(auditflow) -> None:
    Path("auditflow.yaml").write_text("mine")
    answer = auditflow("init")
    assert (answer.code, Path("auditflow.yaml").read_text()) == (1, "mine")
    assert "--config" in answer.err


def test_a_folder_that_is_not_there_is_an_error_without_a_traceback(auditflow) -> None:
    answer = auditflow("init", "--config", "nowhere/auditflow.yaml")
    assert (answer.code, answer.err) == (
        1,
        "auditflow: nowhere/auditflow.yaml cannot be written: No such file or directory\n",
    )


@pytest.mark.parametrize("command", ["check", "serve", "explain", "doctor"])
def test_without_a_configuration_every_command_offers_it(auditflow, command: str) -> None:
    answer = auditflow(command, *(["-"] if command == "explain" else []))
    assert answer.code != 0
    assert "auditflow init" in answer.out + answer.err
