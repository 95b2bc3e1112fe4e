"""The compose file for one machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from auditflow.config import load

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"


@pytest.fixture(scope="module")
def service():
    (service,) = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"].values()
    return service


def test_the_file_is_what_compose_reads():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(COMPOSE / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_beside_it_is_valid():
    assert load(COMPOSE / "auditflow.yaml", {}).pipelines


def test_every_path_in_it_leads_somewhere(service):
    build = service["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()
    source, target, mode = service["volumes"][1].split(":")
    assert (COMPOSE / source).is_file()
    assert (target, mode) == ("/etc/auditflow/auditflow.yaml", "ro")


def test_the_journal_is_on_a_named_volume(service):
    assert "journal:/data" in service["volumes"]
    assert "journal" in yaml.safe_load((COMPOSE / "compose.yaml").read_text())["volumes"]


def test_the_container_is_locked_down(service):
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"
    assert "privileged" not in service


def test_publishing_is_open_to_this_machine_and_the_sink_service_to_nobody(service):
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    assert load(COMPOSE / "auditflow.yaml", {}).server.sink_host == "127.0.0.1"
    assert not any("SINK_HOST" in variable for variable in service["environment"])


def test_it_is_given_longer_than_auditflow_takes_to_stop(service):
    assert (
        float(service["stop_grace_period"].removesuffix("s"))
        >= load(COMPOSE / "auditflow.yaml", {}).server.shutdown_timeout + 10
    )


def test_no_secret_is_written_down(service):
    secrets = [variable for variable in service["environment"] if variable.startswith("AWS_")]
    assert secrets
    assert not any("=" in variable for variable in secrets)
