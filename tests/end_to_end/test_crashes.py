"""kill -9 of every process at random moments under load: nothing acknowledged is lost."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from pathlib import Path
from typing import Self

import httpx2
import pytest

from .conftest import CLOUDWATCH, Serve, wait_for

GROUP = "/aws/auditflow/test"
KILLS = 8


class Load:
    """Publishes small batches without pause and remembers which events were acknowledged."""

    def __init__(self, serve: Serve) -> None:
        self.acknowledged: set[str] = set()
        self._serve = serve
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            ids = [str(uuid.uuid4()) for _ in range(20)]
            lines = [json.dumps({"eventType": "a", "sourceSystem": "b", "eventId": each}) for each in ids]
            try:
                answer = httpx2.post(
                    f"{self._serve.url}/audit/publish",
                    content="\n".join(lines).encode(),
                    headers={"Content-Type": "application/x-ndjson"},
                    timeout=5,
                )
            except httpx2.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                assert answer.json()["accepted"] == 20
                self.acknowledged.update(ids)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("victims", [("ingest",), ("delivery",), ("serve",), ("ingest", "delivery", "serve")])
def test_nothing_acknowledged_is_lost(serve, cloud, victims):
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    running = serve(CLOUDWATCH, "--port", "18480", "--sink-port", "18482", cloud=cloud)
    with Load(running) as load:
        for _ in range(KILLS if len(victims) > 1 else KILLS // 2):
            before = len(load.acknowledged)
            time.sleep(dice.uniform(0.1, 1.0))
            victim = dice.choice(victims)
            running.kill(victim)
            if victim == "serve":
                running.start()
            wait_for(lambda before=before: len(load.acknowledged) > before, 60, "publishing to go on")
    row = running.settled(seconds=120)
    assert row["accepted"] >= len(load.acknowledged)
    arrived = [json.loads(record.message)["eventId"] for record in cloud.events(GROUP)]
    lost = load.acknowledged - set(arrived)
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged events are lost (seed {seed})"
    assert row["deadLettered"] == 0
    if victims == ("ingest",):
        assert len(arrived) == len(set(arrived)), "only a delivery that dies may repeat"


def test_a_role_that_dies_starts_again_and_connections_wait_for_it(serve, cloud):
    running = serve(cloud=cloud)
    first = running.role("ingest")
    running.kill("ingest")
    answer = running.publish({"eventType": "a", "sourceSystem": "b"})
    assert answer.status_code == 200
    assert running.role("ingest") != first
    assert running.settled()["delivered"] == 1


def test_roles_do_not_outlive_their_supervisor(serve, cloud):
    running = serve(cloud=cloud)
    roles = [running.role("ingest"), running.role("delivery")]
    running.kill("serve")
    wait_for(lambda: not any(_runs(pid) for pid in roles), 120, "the roles to end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
