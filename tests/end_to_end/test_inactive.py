"""A pipeline that is disabled, renamed or removed keeps what it has to deliver until somebody says otherwise."""

from __future__ import annotations

import subprocess
import sys

import httpx2
import pytest

from .conftest import Serve, wait_for

REFUSED = """\
journal: {retention: 1s}
pipelines:
  - name: held
    enabled: true
    sink: {name: webhook_sink, properties: {webhook-url: "http://127.0.0.1:1/"}}
  - {name: other, sink: {name: logging_sink}}
"""
EVENT = {"eventType": "a", "sourceSystem": "b"}

pytestmark = pytest.mark.timeout(300)


def auditflow(running: Serve, *arguments: str, url: bool = True) -> str:
    command = [sys.executable, "-m", "auditflow", *arguments, *(["--url", running.url] if url else [])]
    done = subprocess.run(
        command, env=running.environment, cwd=running.folder, capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    return done.stdout + done.stderr


def reconfigure(running: Serve, config: str) -> None:
    running.config.write_text(config)
    auditflow(running, "reload")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("enabled: true", "enabled: false"),
        lambda text: text.replace("name: held", "name: renamed"),
    ],
    ids=["disabled", "renamed"],
)
def test_what_a_pipeline_owes_outlives_its_absence(serve, change):
    running = serve(REFUSED)
    for number in range(20):
        assert running.publish(EVENT | {"extra": {"n": number}}).status_code == 200
    running.settled("other")
    reconfigure(running, change(REFUSED))
    row = running.status("held")
    assert (row["state"], row["accepted"], row["pending"]) == ("inactive", 20, 20)
    assert "auditflow forget-pipeline held" in row["warning"]
    assert row["warning"] in running.log
    assert "20 events to deliver" in auditflow(
        running, "check", str(running.config), "--data-dir", str(running.data), url=False
    )
    wait_for(lambda: running.status("held")["oldestPendingAgeSeconds"] > 3, what="retention to pass")
    running.publish(EVENT)
    running.stop()
    running.start()
    assert running.status("held")["pending"] == 20
    reconfigure(running, REFUSED)
    row = running.status("held")
    assert (row["state"] != "inactive", row["accepted"], row["pending"]) == (True, 21, 21)


def test_a_forgotten_pipeline_owes_nothing(serve):
    running = serve(REFUSED)
    assert running.publish(EVENT).status_code == 200
    assert "runs; disable it" in auditflow(running, "forget-pipeline", "held", "--yes")
    reconfigure(running, REFUSED.replace("enabled: true", "enabled: false"))
    assert "no pipeline named 'hold'" in auditflow(running, "forget-pipeline", "hold", "--yes")
    assert "1 event" in auditflow(running, "forget-pipeline", "held", "--yes")
    assert [row["name"] for row in httpx2.get(f"{running.url}/api/v1/status").json()["pipelines"]] == [
        "other"
    ]


def test_a_pipeline_that_leaves_owing_nothing_leaves_no_trace(serve):
    running = serve(REFUSED)
    reconfigure(running, REFUSED.replace("enabled: true", "enabled: false"))
    running.publish(EVENT)
    assert [row["name"] for row in httpx2.get(f"{running.url}/api/v1/status").json()["pipelines"]] == [
        "other"
    ]
