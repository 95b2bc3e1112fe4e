"""After a hard run, every one of 10,000 events is answered for, and every answer is true."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from .conftest import Serve, wait_for

EVENTS, BATCH, STREAMS, THREADS = 10_000, 500, 20, 2
GROUP = "/aws/auditflow/test"
CONFIG = """\
pipelines:
  - name: cloudwatch
    condition:
      rules:
        - {field: eventType, operator: neq, value: debug}
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: /aws/auditflow/test
        log-stream: "team-{{ extra.team }}"
        out-of-window: dead-letter
        flush-interval: 100ms
"""


def event(number: int) -> dict:
    """Make an event: every seventh is filtered, every thousandth is too old for CloudWatch."""
    old = {"eventTime": "2001-01-01T00:00:00Z"} if number % 1000 == 1 else {}
    return {
        "eventId": str(uuid.uuid4()),
        "eventType": "debug" if number % 7 == 0 else "auth.login",
        "sourceSystem": "web",
        "extra": {"team": number * 13 % STREAMS},
    } | old


def publish(running: Serve, cloud, events: list[dict]) -> None:
    """Publish in batches while the destination is in every kind of problem and delivery is killed once."""
    cloud.fault("throttle", operation="PutLogEvents", rate=0.1)
    cloud.fault("reset", operation="PutLogEvents", rate=0.05)
    cloud.fault("reset-after", operation="PutLogEvents", rate=0.02)
    for number, start in enumerate(range(0, len(events), BATCH)):
        if number == 5:
            down = cloud.fault("unavailable")
        if number == 8:
            running.kill("delivery")
        answer = running.publish(*events[start : start + BATCH])
        assert answer.json()["accepted"] == BATCH, answer.text
    wait_for(lambda: down.hits > 0, what="the destination to be found down")
    down.times = 0


def answers(url: str, ids: list[str]) -> dict[str, dict]:
    """Ask for every event."""

    def ask(some: list[str]) -> dict[str, dict]:
        with httpx2.Client(base_url=url, timeout=30) as client:
            return {each: client.get(f"/api/v1/events/{each}").json() for each in some}

    size = -(-len(ids) // THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        parts = threads.map(ask, [ids[at : at + size] for at in range(0, len(ids), size)])
        return {event_id: found for part in parts for event_id, found in part.items()}


@pytest.mark.timeout(600)
def test_every_event_is_answered_for_and_every_answer_is_true(serve, cloud):
    running = serve(CONFIG, cloud=cloud)
    events = [event(number) for number in range(EVENTS)]
    publish(running, cloud, events)
    row = running.settled(seconds=200)
    held = defaultdict(set)
    for record in cloud.events(GROUP):
        held[json.loads(record.message)["eventId"]].add(record.stream)
    found = answers(running.url, [each["eventId"] for each in events])

    wrong = []
    for number, each in enumerate(events):
        (state,) = found[each["eventId"]]["pipelines"]
        streams = held.get(each["eventId"], set())
        if number % 7 == 0:
            right = state["state"] == "filtered" and "eventType neq debug" in state["reason"] and not streams
        elif number % 1000 == 1:
            right = state["state"] == "deadLettered" and not streams
        else:
            right = state["state"] == "delivered" and {state["where"]["log_stream"]} == streams
        right = right and found[each["eventId"]]["sequence"] == number + 1
        if not right:
            wrong.append((number, state, streams))
    assert wrong == []
    states = [one["pipelines"][0]["state"] for one in found.values()]
    counts = (row["delivered"], row["filtered"], row["deadLettered"])
    assert counts == tuple(map(states.count, ("delivered", "filtered", "deadLettered")))
    assert row["deadLettered"] > 0
