"""A fallback takes over, the first destination gets it all afterwards, whatever is killed meanwhile."""

from __future__ import annotations

import json
import signal
import uuid
from collections import Counter

import httpx2
import pytest

from .conftest import Serve, wait_for

CONFIG = """\
pipelines:
  - name: cloudwatch
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /audit/first, log-stream: events, flush-interval: 100ms, endpoint-url: FIRST}
      fallback:
        name: aws_cloudwatch_sink
        properties: {log-group: /audit/second, log-stream: events, flush-interval: 100ms}
        backfill: true
    delivery: {fallback-after: 1s}
"""
FIRST, SECOND = "/audit/first", "/audit/second"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def first():
    """Give the first destination; the fallback is the fixture `cloud`."""
    from auditflow.testing.cloudwatch import StrictCloudWatch

    with StrictCloudWatch() as first:
        yield first


def publish(running: Serve, count: int) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    events = [{"eventType": "a", "sourceSystem": "b", "eventId": each} for each in ids]
    for start in range(0, count, 500):
        assert running.publish(*events[start : start + 500]).status_code == 200
    return ids


def arrived(cloud, group: str) -> Counter[str]:
    return Counter(json.loads(record.message)["eventId"] for record in cloud.events(group))


def test_what_went_to_the_fallback_comes_to_the_first_destination_too(serve, cloud, first):
    running = serve(CONFIG.replace("FIRST", first.url), cloud=cloud)
    before = publish(running, 100)
    running.settled()
    first.fault("unavailable")
    during = publish(running, 3000)
    row = running.settled()
    assert (row["state"], row["backfilling"], row["delivered"]) == ("fallback", 3000, 3100)
    assert row["lastError"]["code"] == "ServiceUnavailableException"
    where = httpx2.get(f"{running.url}/api/v1/events/{during[7]}").json()["pipelines"][0]
    assert (where["state"], where["backfilling"], where["where"]["fallback"]) == ("delivered", True, True)
    running.kill("delivery")
    first.clear_faults()
    wait_for(lambda: running.status()["backfilling"] == 0, 90, "the backfill")
    after = publish(running, 10)
    wait_for(lambda: running.status()["state"] == "active", 120, "the first destination to take over")
    running.settled()
    assert arrived(cloud, SECOND).keys() == set(during)
    assert arrived(first, FIRST).keys() == {*before, *during, *after}
    where = httpx2.get(f"{running.url}/api/v1/events/{during[7]}").json()["pipelines"][0]
    assert (where["state"], "fallback" in where["where"]) == ("delivered", False)
    assert FIRST in json.dumps(where["where"])


def test_a_kill_in_the_middle_of_the_backfill_repeats_and_loses_nothing(serve, cloud, first):
    running = serve(CONFIG.replace("FIRST", first.url), cloud=cloud)
    first.fault("deny")
    ids = publish(running, 2000)
    running.settled()
    first.clear_faults()
    first.fault("drip", operation="PutLogEvents", times=1)
    tried = len(first.requests)
    wait_for(lambda: len(first.requests) > tried, 60, "the first call of the backfill")
    running.kill("delivery")
    wait_for(lambda: running.status()["backfilling"] == 0, 90, "the backfill")
    row = running.settled()
    assert arrived(first, FIRST).keys() == set(ids)
    assert (row["delivered"], row["deadLettered"]) == (2000, 0)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
