"""Dead letters and pauses with real processes: what was refused arrives after all, whatever is killed meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from .conftest import CLOUDWATCH, Serve, wait_for
from .test_docs import blocks

GROUP = "/aws/auditflow/test"
GIVES_UP = CLOUDWATCH + "    delivery: {when-blocked: dead-letter}\n"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "dead-letters.md"

pytestmark = pytest.mark.timeout(120)


def auditflow(running: Serve, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "auditflow", *arguments, "--url", running.url],
        env=running.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def published(running: Serve, count: int) -> list[str]:
    new = [str(uuid.uuid4()) for _ in range(count)]
    events = [{"eventType": "a", "sourceSystem": "b", "eventId": each} for each in new]
    assert running.publish(*events).status_code == 200
    return sorted(new)


def arrived(cloud) -> list[str]:
    return sorted(json.loads(record.message)["eventId"] for record in cloud.events(GROUP))


def refused(running: Serve, cloud, count: int) -> list[str]:
    """Publish events that all become dead letters."""
    cloud.fault("deny")
    events = published(running, count)
    assert running.settled()["deadLettered"] == count
    cloud.clear_faults()
    return events


def test_the_commands_of_the_page_work_in_its_order(serve, cloud):
    running = serve(GIVES_UP, cloud=cloud)
    events = refused(running, cloud, 30)
    said = [
        auditflow(running, *re.split(r"\s+", line.removeprefix("$ auditflow ").partition("  #")[0].strip()))
        for block in blocks(PAGE, "console")
        for line in block.splitlines()
    ]
    assert "AccessDeniedException  30 " in said[0]
    assert json.loads(next(text for text in said if text.startswith("{")))["eventId"] in events
    row = running.settled()
    assert (row["delivered"], row["deadLettered"], row["replaying"]) == (30, 0, 0)
    assert arrived(cloud) == events
    assert "no dead letters" in auditflow(running, "dead-letters", "list")


def test_what_is_purged_is_gone_and_the_counts_still_balance(serve, cloud):
    running = serve(GIVES_UP, cloud=cloud)
    refused(running, cloud, 10)
    assert "1 event deleted" in auditflow(running, "dead-letters", "purge", "1", "--yes")
    assert "9 events deleted" in auditflow(running, "dead-letters", "purge", "--all", "--yes")
    assert "no dead letters" in auditflow(running, "dead-letters", "list")
    row = running.settled()
    assert (row["delivered"], row["deadLettered"]) == (0, 10)
    assert arrived(cloud) == []


def test_a_replay_takes_as_long_as_its_rate_says(serve, cloud):
    running = serve(GIVES_UP, cloud=cloud)
    events = refused(running, cloud, 40)
    begin = time.monotonic()
    auditflow(running, "dead-letters", "replay", "--rate", "10")
    wait_for(lambda: len(arrived(cloud)) == 40, what="every letter to arrive")
    assert time.monotonic() - begin >= 3.5  # 39 pauses of 0.1 s
    assert arrived(cloud) == events


def test_a_misshapen_command_file_stops_no_delivery(serve, cloud):
    running = serve(cloud=cloud)
    commands = running.data / "commands"
    commands.mkdir(exist_ok=True)
    delivery = running.role("delivery")
    (commands / "0.command").write_bytes(b'["pause",{}]')
    wait_for((commands / "0.answer").exists, what="the refusal")
    events = published(running, 5)
    running.settled()
    assert arrived(cloud) == events
    assert running.role("delivery") == delivery


@pytest.mark.parametrize("victim", ["delivery", "ingest"])
def test_a_replay_goes_on_after_a_kill_and_loses_nothing(serve, cloud, victim):
    running = serve(GIVES_UP, cloud=cloud)
    events = refused(running, cloud, 60)
    auditflow(running, "dead-letters", "replay", "--rate", "30")
    wait_for(lambda: len(cloud.events(GROUP)) >= 10, what="the replay to be under way")
    running.kill(victim)
    wait_for(lambda: set(arrived(cloud)) == set(events), 120, "every letter to arrive")
    row = running.settled()
    assert (row["delivered"], row["deadLettered"], row["replaying"]) == (60, 0, 0)
    again = Counter(arrived(cloud))
    assert sum(again.values()) - len(again) <= 6  # two slices: one unrecorded, one under way


def test_a_pause_outlives_every_process_and_loses_nothing(serve, cloud):
    running = serve(cloud=cloud)
    first = published(running, 5)
    running.settled()
    auditflow(running, "pause", "cloudwatch")
    waiting = published(running, 20)
    running.kill("delivery")
    wait_for(lambda: running.status()["pending"] == 20, what="the events to wait")
    for process in ("delivery", "ingest", "serve"):
        running.kill(process)
    running.start()
    more = published(running, 5)
    row = running.status()
    assert (row["state"], row["pending"]) == ("paused", 25)
    assert "paused" in auditflow(running, "status")
    assert arrived(cloud) == first
    auditflow(running, "resume", "cloudwatch")
    assert running.settled()["state"] == "active"
    assert arrived(cloud) == sorted(first + waiting + more)
