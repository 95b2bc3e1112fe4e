"""A changed configuration is in force within seconds, whole or not at all, also for a pipeline that is stuck."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import httpx2
import pytest

from .conftest import CLOUDWATCH, Serve, wait_for

STUCK = CLOUDWATCH.replace("flush-interval", "create-log-group: false\n        flush-interval")
EVENT = {"eventType": "a", "sourceSystem": "b"}

pytestmark = pytest.mark.timeout(120)


def configuration(running: Serve) -> dict:
    return httpx2.get(f"{running.url}/api/v1/status", timeout=30).json()["configuration"]


def pipelines(running: Serve) -> list[str]:
    return [row["name"] for row in httpx2.get(f"{running.url}/api/v1/status").json()["pipelines"]]


def auditflow(running: Serve, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditflow", *arguments, "--url", running.url]
    return subprocess.run(
        command, env=running.environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_pipeline_that_is_blocked_goes_on_as_soon_as_its_configuration_is_fixed(serve, cloud):
    running = serve(STUCK, cloud=cloud)
    for _ in range(3):
        running.publish(EVENT)
    wait_for(lambda: running.status()["state"] == "blocked", 120, "the pipeline to be blocked")
    time.sleep(5)  # so that it waits long before it tries again
    running.config.write_text(CLOUDWATCH)
    running.settled(seconds=120)
    assert len(cloud.events("/aws/auditflow/test")) == 3
    assert "loaded again; changed: cloudwatch" in running.log
    assert running.status()["state"] == "active"


def test_a_broken_file_changes_nothing_shows_its_problems_and_survives_a_kill(serve, cloud):
    running = serve(CLOUDWATCH, cloud=cloud)
    running.config.write_text(CLOUDWATCH.replace("log-group", "log-gruop"))
    wait_for(lambda: configuration(running)["problems"], 120, "the problems to be shown")
    problems = configuration(running)["problems"]
    assert [(each["file"], each["line"], each["column"]) for each in problems] == [
        ("auditflow.yaml", 5, 7),
        ("auditflow.yaml", 6, 9),
    ]
    assert "did you mean log-group" in problems[1]["hint"]
    done = auditflow(running, "reload")
    assert done.returncode == 1
    assert "auditflow.yaml:6:9" in done.stderr
    assert "Traceback" not in running.log
    shown = auditflow(running, "status").stdout
    assert "is not in force" in shown
    assert "auditflow.yaml:6:9" in shown
    for role in ("ingest", "delivery"):
        running.kill(role)
    wait_for(lambda: running.publish(EVENT).status_code == 200, 120, "publishing to work again")
    assert running.settled()["delivered"] == 1
    running.config.write_text(CLOUDWATCH)
    wait_for(lambda: not configuration(running)["problems"], 120, "the problems to be gone")


def test_pipelines_come_and_go_and_those_that_stay_are_not_disturbed(serve, cloud):
    other = CLOUDWATCH.removeprefix("pipelines:\n").replace("name: cloudwatch", "name: other")
    running = serve(CLOUDWATCH, cloud=cloud)
    running.publish(EVENT)
    running.settled()
    running.config.write_text(CLOUDWATCH + other.replace("/test", "/other"))
    done = auditflow(running, "reload")
    # the file is watched, too: on a busy machine that may have been faster than the command
    assert done.stdout in {"loaded again; changed: other\n", "loaded again; changed: no pipeline\n"}
    assert pipelines(running) == ["cloudwatch", "other"]
    running.publish(EVENT)
    assert running.settled("other")["accepted"] == 1
    running.config.write_text(CLOUDWATCH)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pipelines(running) == ["cloudwatch"], 120, "the pipeline to be gone")
    running.publish(EVENT)
    assert running.settled()["accepted"] == 3
    assert len(cloud.events("/aws/auditflow/other")) == 1


@pytest.mark.parametrize("section", ["server: {port: 1}", "auth: {api-keys: {}}"])
def test_what_only_a_restart_can_change_is_refused_whole(serve, cloud, section):
    running = serve(CLOUDWATCH, cloud=cloud)
    running.config.write_text(CLOUDWATCH.replace("name: cloudwatch", "name: renamed") + f"{section}\n")
    answer = httpx2.post(f"{running.url}/api/v1/reload", timeout=30)
    assert answer.status_code == 409
    name = section.partition(":")[0]
    assert f"auditflow.yaml:9:1: {name}: cannot change while AuditFlow runs" in answer.json()["message"]
    assert pipelines(running) == ["cloudwatch"]


def test_a_hang_up_ends_no_role(serve, cloud):
    running = serve(CLOUDWATCH, cloud=cloud)
    roles = {name: running.role(name) for name in ("ingest", "delivery")}
    for pid in roles.values():
        os.kill(pid, signal.SIGHUP)
    running.publish(EVENT)
    running.settled()
    assert {name: running.role(name) for name in roles} == roles


def test_the_copy_in_force_is_for_its_owner_alone_and_holds_no_value_of_a_variable(serve, cloud):
    text = CLOUDWATCH.replace("events", "${STREAM}")
    running = serve(text, cloud=cloud, STREAM="from-outside")
    kept = running.data / "config" / "auditflow.yaml"
    assert kept.read_text() == text
    assert kept.stat().st_mode & 0o077 == kept.parent.stat().st_mode & 0o077 == 0
    assert json.loads((running.data / "config" / "state.json").read_text())["problems"] == []
