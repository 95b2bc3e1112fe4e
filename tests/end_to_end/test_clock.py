"""A wall clock that is months ahead for some seconds deletes nothing and forgets nothing."""

from __future__ import annotations

import shutil
import time
import uuid

import httpx2
import pytest
from tests.torture.shim import JUMP, Shim

from .conftest import Serve, wait_for

CONFIG = """\
journal: {dedup-window: 1d}
dead-letters: {max-age: 7d}
pipelines:
  - name: dead
    sink: {name: webhook_sink, properties: {webhook-url: "http://127.0.0.1:1/"}}
    delivery: {max-attempts: 1}
  - name: patient
    sink: {name: webhook_sink, properties: {webhook-url: "http://127.0.0.1:1/"}}
    delivery: {max-age: 7d}
"""
DAYS = 60 * 86_400


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    shutil.which("cc") is None, reason="needs a C compiler for the library that moves the clock"
)
def test_a_clock_that_is_far_ahead_for_a_moment_makes_nothing_old(serve, tmp_path):
    shim = Shim(tmp_path)
    running: Serve = serve(CONFIG, **shim.environment)
    event = {"eventType": "a", "sourceSystem": "b", "eventId": str(uuid.uuid4())}
    assert running.publish(event).status_code == 200
    wait_for(lambda: running.status("dead")["deadLettered"] == 1, what="the dead letter")
    shim.set(JUMP, DAYS)
    wait_for(lambda: running.log.count("ahead of where it should be") >= 2, what="both roles to see the jump")
    assert running.publish(event).json()["duplicate"] is True
    time.sleep(
        3
    )  # longer than what deletes and forgets pauses; nothing shall happen, so there is nothing to wait for
    shim.set(JUMP, 0)
    assert running.publish(event).json()["duplicate"] is True
    letters = httpx2.get(f"{running.url}/actuator/dlq/_platform").json()
    assert "and are deleted\n" not in running.log
    assert running.status("dead")["deadLettered"] == 1
    assert (running.status("patient")["pending"], running.status("patient")["deadLettered"]) == (1, 0)
    assert len(letters.get("items", letters)) >= 1
