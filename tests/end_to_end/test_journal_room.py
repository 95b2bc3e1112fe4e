"""One tenant's dead destination takes his share of the journal, and nobody else's."""

from __future__ import annotations

import json
import secrets

import httpx2
import pytest

from .conftest import Serve, wait_for

CONFIG = """\
journal: {max-size: 8MiB}
tenants: {directory: tenants/}
pipelines: []
"""
TENANT = """\
tenantId: {}
pipelines:
  - {{name: own, sink: {}}}
"""
DEAD = "{name: webhook_sink, properties: {webhook-url: 'http://127.0.0.1:1/'}}"
WELL = "{name: aws_cloudwatch_sink, properties: {log-group: /a, log-stream: b, flush-interval: 50ms}}"

pytestmark = pytest.mark.timeout(600)


def batch(tenant: str) -> bytes:
    """Make 64 KiB of events that do not compress."""
    event = {"eventType": "a", "sourceSystem": "b", "tenantId": tenant}
    return b"\n".join(
        json.dumps(event | {"extra": {"text": secrets.token_hex(2048)}}).encode() for _ in range(16)
    )


def publish(running: Serve, client: httpx2.Client, tenant: str) -> httpx2.Response:
    kind = {"Content-Type": "application/x-ndjson"}
    return client.post(f"{running.url}/audit/publish", content=batch(tenant), headers=kind)


def own(running: Serve, tenant: str) -> dict:
    rows = httpx2.get(f"{running.url}/api/v1/status").json()["pipelines"]
    return next(row for row in rows if row["tenant"] == tenant)


def test_a_tenants_backlog_is_refused_at_its_share_and_the_others_go_on(serve, cloud, tmp_path):
    folder = tmp_path / "tenants"
    folder.mkdir()
    for tenant, sink in (("acme", DEAD), ("globex", WELL)):
        (folder / f"{tenant}.yaml").write_text(TENANT.format(tenant, sink))
    running = serve(CONFIG, cloud=cloud)
    with httpx2.Client(timeout=60) as client:
        stored = 0
        for _ in range(2000):
            answer = publish(running, client, "acme")
            if answer.status_code != 200:
                break
            stored += 16
        assert (answer.status_code, answer.json()["code"]) == (503, "TENANT_BACKLOG_FULL"), answer.text
        assert "acme/own" in answer.json()["message"]
        assert int(answer.headers["retry-after"]) > 0
        wait_for(lambda: "pipeline acme/own is furthest behind" in running.log, what="the warning")
        for number in range(300):  # several times what the journal holds, no faster than it is delivered
            answer = publish(running, client, "globex")
            assert answer.status_code == 200, (number, answer.text)
            if number % 10 == 0:
                wait_for(lambda: own(running, "globex")["pending"] == 0, what="globex to have everything")
        assert publish(running, client, "acme").status_code == 503
        assert client.get(f"{running.url}/ready").status_code == 200
    wait_for(lambda: own(running, "globex")["pending"] == 0, what="globex to have everything")
    assert own(running, "globex")["delivered"] == 300 * 16
    assert own(running, "acme")["accepted"] == own(running, "acme")["pending"] == stored

    (folder / "acme.yaml").write_text(TENANT.format("acme", WELL))
    wait_for(lambda: own(running, "acme")["pending"] == 0, what="acme's backlog to be delivered")
    assert own(running, "acme")["delivered"] == stored
    wait_for(lambda: "tenant acme are taken again" in running.log, what="acme to be taken again")
    assert running.stop() == 0
