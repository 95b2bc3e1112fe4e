"""Several tenants in one installation, as real processes: what is one's never reaches another."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

from .conftest import Serve, wait_for

pytestmark = pytest.mark.timeout(180)

MAIN = """\
tenants: {directory: tenants}
pipelines:
  - name: unassigned
    sink: {name: aws_cloudwatch_sink, properties: {log-group: /platform, flush-interval: 50ms}}
"""


def pipeline(group: str, **more: Any) -> dict[str, Any]:
    properties = {"log-group": group, "flush-interval": "50ms"}
    return {"name": "all", "sink": {"name": "aws_cloudwatch_sink", "properties": properties}} | more


class Tenants:
    """A running installation with a folder of tenants."""

    def __init__(self, folder: Path, serve: Any, cloud: StrictCloudWatch) -> None:
        self.folder = folder / "tenants"
        self.folder.mkdir()
        self._serve, self.cloud = serve, cloud

    def write(self, name: str, *pipelines: dict[str, Any], **tenant: Any) -> None:
        text = json.dumps({"tenantId": name, "pipelines": list(pipelines)} | tenant)
        (self.folder / f"{name}.yaml").write_text(text)

    def start(self) -> Serve:
        self.served: Serve = self._serve(MAIN, cloud=self.cloud)
        return self.served

    def publish(self, *tenants: str | None, **fields: Any) -> httpx2.Response:
        events = [{"eventType": "a", "sourceSystem": "b"} | fields for _ in tenants]
        for event, tenant in zip(events, tenants, strict=True):
            if tenant:
                event["tenantId"] = tenant
        return self.served.publish(*events)

    def arrived(self, group: str) -> list[dict[str, Any]]:
        return [json.loads(record.message) for record in self.cloud.events(group)]

    def status(self) -> dict[str, Any]:
        status = httpx2.get(f"{self.served.url}/api/v1/status", timeout=30).json()
        for row in status["pipelines"]:
            ended = row["delivered"] + row["filtered"] + row["deadLettered"]
            assert row["accepted"] == ended + row["pending"], row
            assert min(row["accepted"], row["pending"]) >= 0, row
        return status

    def row(self, tenant: str, name: str = "all") -> dict[str, Any]:
        rows = self.status()["pipelines"]
        return next(row for row in rows if (row["tenant"], row["name"]) == (tenant, name))

    def settled(self) -> None:
        wait_for(lambda: not any(row["pending"] for row in self.status()["pipelines"]), 60, "nothing pending")


def auditflow(served: Serve, *arguments: str) -> str:
    """Run a command against the server; give what it says."""
    command = [sys.executable, "-m", "auditflow", *arguments, "--url", served.url]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture
def tenants(tmp_path, serve, cloud) -> Tenants:
    return Tenants(tmp_path, serve, cloud)


def test_each_tenants_events_go_to_its_own_sinks_and_are_accounted_for_there_alone(tenants):
    tenants.write("acme", pipeline("/acme"), pipeline("/acme/second") | {"name": "second"})
    tenants.write("globex", pipeline("/globex"))
    tenants.start()
    order = ["acme"] * 30 + ["globex"] * 20 + [None] * 10
    for _ in range(5):
        random.shuffle(order)
        assert tenants.publish(*order).json()["accepted"] == 60
    tenants.settled()
    for group, owner, count in (
        ("/acme", "acme", 150),
        ("/acme/second", "acme", 150),
        ("/globex", "globex", 100),
        ("/platform", None, 50),
    ):
        arrived = tenants.arrived(group)
        assert len({event["eventId"] for event in arrived}) == len(arrived) == count
        assert {event.get("tenantId") for event in arrived} == {owner}
    counts = {(row["tenant"], row["name"]): row["accepted"] for row in tenants.status()["pipelines"]}
    assert counts == {
        ("acme", "all"): 150,
        ("acme", "second"): 150,
        ("globex", "all"): 100,
        ("_platform", "unassigned"): 50,
    }
    event_id = tenants.arrived("/acme")[0]["eventId"]
    found = httpx2.get(f"{tenants.served.url}/api/v1/events/{event_id}").json()
    assert [(each["tenant"], each["name"], each["state"]) for each in found["pipelines"]] == [
        ("acme", "all", "delivered"),
        ("acme", "second", "delivered"),
    ]


def test_who_is_unknown_disabled_or_over_the_quota_is_refused(tenants):
    tenants.write("off", enabled=False)
    tenants.write("slow", quota={"rateLimitPerSec": 2, "burst": 2})
    tenants.start()
    refused = tenants.publish("nobody")
    assert (refused.status_code, refused.json()["code"]) == (403, "TENANT_NOT_PROVISIONED")
    refused = tenants.publish("off")
    assert (refused.status_code, refused.json()["code"]) == (403, "TENANT_DISABLED")
    assert tenants.publish("slow", "slow").status_code == 200
    refused = tenants.publish("slow", "slow")
    assert (refused.status_code, refused.json()["code"]) == (429, "TENANT_RATE_LIMITED")
    time.sleep(int(refused.headers["retry-after"]))  # what it says is true
    assert tenants.publish("slow", "slow").status_code == 200


def test_the_folder_is_followed_within_five_seconds_and_a_broken_file_changes_nothing(tenants):
    tenants.write("acme", pipeline("/acme"))
    served = tenants.start()
    tenants.publish("acme")

    tenants.write("late", pipeline("/late"))
    wait_for(lambda: tenants.publish("late").status_code == 200, 120, "the new tenant")
    wait_for(lambda: len(tenants.arrived("/late")) == 1, 120, "its event: none is accepted too early")

    tenants.write("acme", pipeline("/acme/moved"))
    wait_for(lambda: tenants.publish("acme") and tenants.arrived("/acme/moved"), 120, "the new group")

    (tenants.folder / "acme.yaml").write_text("tenantId: acme\npipelines: [")
    wait_for(lambda: tenants.status()["tenants"]["problems"], 120, "the problem")
    (problem,) = tenants.status()["tenants"]["problems"]
    assert (problem["file"], tenants.status()["tenants"]["count"]) == ("acme.yaml", 2)
    shown = auditflow(served, "status")
    assert "files of tenants are not in force" in shown
    assert "acme.yaml:3" in shown
    before = len(tenants.arrived("/acme/moved"))
    assert tenants.publish("acme").status_code == 200
    wait_for(lambda: len(tenants.arrived("/acme/moved")) == before + 1, 120, "it to go on as before")

    (tenants.folder / "late.yaml").unlink()
    wait_for(lambda: tenants.publish("late").status_code == 403, 120, "the tenant to be gone")

    def gone() -> bool:
        late = [row for row in tenants.status()["pipelines"] if row["tenant"] == "late"]
        return all(row["state"] == "inactive" and row["pending"] for row in late)

    wait_for(gone, 120, "its pipeline to be gone, or to keep no more than what it has to deliver")


def test_a_file_that_is_broken_takes_nothing_from_its_tenant_when_processes_start_again(tenants):
    tenants.write("acme", pipeline("/acme"))
    served = tenants.start()
    tenants.publish("acme")
    (tenants.folder / "acme.yaml").write_text("tenantId: acme\npipelines: [")
    wait_for(lambda: tenants.status()["tenants"]["problems"], 120, "the problem")
    for role in ("ingest", "delivery"):
        served.kill(role)
        assert tenants.publish("acme").status_code == 200
    assert served.stop() == 0
    served.start()
    assert tenants.publish("acme").status_code == 200
    tenants.settled()
    assert len({event["eventId"] for event in tenants.arrived("/acme")}) == 4
    assert (tenants.row("acme")["accepted"], len(tenants.status()["tenants"]["problems"])) == (4, 1)


def test_a_tenants_pipelines_are_operated_by_its_name(tenants):
    tenants.write("acme", pipeline("/acme"))
    tenants.write("globex", pipeline("/globex"))
    served = tenants.start()
    assert "acme/all is paused" in auditflow(served, "pause", "acme/all")
    tenants.publish("acme", "globex", "acme")
    wait_for(lambda: len(tenants.arrived("/globex")) == 1)
    assert (tenants.row("acme")["state"], tenants.row("acme")["pending"]) == ("paused", 2)
    assert "acme/all" in auditflow(served, "status")
    assert "those that do: unassigned." in auditflow(served, "pause", "all"), "tenants are not told of others"
    auditflow(served, "resume", "acme/all")
    tenants.settled()
    again = ("replay", "--pipeline", "acme/all", "--since", "1h")
    assert "takes 2 of the 2 events" in auditflow(served, *again, "--dry-run")
    assert "2 events go to acme/all" in auditflow(served, *again)
    wait_for(lambda: len(tenants.arrived("/acme")) == 4)
    tenants.settled()
    assert tenants.row("acme")["accepted"] == 4
    assert len(tenants.arrived("/globex")) == 1


def test_the_accounts_of_several_tenants_balance_while_the_processes_are_killed(tenants):
    names = [f"t{n}" for n in range(6)]
    for name in names:
        tenants.write(name, pipeline(f"/{name}"))
    served = tenants.start()
    accepted = dict.fromkeys(names, 0)
    stopping = threading.Event()
    loading = threading.Thread(target=load, args=(tenants, accepted, stopping))
    loading.start()
    for role in ("delivery", "ingest", "delivery") * 3:
        time.sleep(0.7)
        served.kill(role)
        for _ in range(5):
            with contextlib.suppress(httpx2.HTTPError):
                tenants.status()
    stopping.set()
    loading.join()
    wait_for(lambda: httpx2.get(f"{served.url}/ready").status_code == 200)
    tenants.settled()
    for name in names:
        row, arrived = tenants.row(name), tenants.arrived(f"/{name}")
        distinct = {event["eventId"] for event in arrived}
        assert {event["tenantId"] for event in arrived} == {name}
        assert len(distinct) == row["accepted"] == row["delivered"] >= accepted[name] > 0


def load(tenants: Tenants, accepted: dict[str, int], stopping: threading.Event) -> None:
    """Publish for the tenants in `accepted`, and count there what is acknowledged."""
    rng = random.Random(7)
    while not stopping.is_set():
        some = [rng.choice(list(accepted)) for _ in range(rng.randint(1, 200))]
        with contextlib.suppress(httpx2.HTTPError):  # not acknowledged, though it may be stored
            if tenants.publish(*some).status_code == 200:
                for name in some:
                    accepted[name] += 1


@pytest.mark.parametrize("kind", ["hang", "throttle"])
def test_a_tenant_whose_destination_fails_does_not_slow_another(tenants, kind):
    tenants.write("sick", pipeline("/sick"))
    tenants.write("well", pipeline("/well"))
    tenants.start()
    tenants.publish("sick", "well")
    tenants.settled()
    tenants.cloud.fault(kind, group="/sick")
    for _ in range(20):
        tenants.publish(*["sick"] * 500, *["well"] * 50)
    wait_for(lambda: tenants.row("well")["delivered"] == 1001, 120, "the other tenant's events")
    row = tenants.row("sick")
    assert (row["accepted"], row["pending"] > 0) == (10_001, True)
