"""Secrets planted wherever they can be: a real `auditflow serve` repeats none of them, and leaves none for others to read."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import httpx2
import pytest

from auditflow.ingest.auth.keys import KeyFile

from .conftest import wait_for

EVENT = {"eventType": "auth.login", "sourceSystem": "web", "extra": {"email": "me@acme.example"}}
NAMES = ("URL", "HMAC", "HEADER", "AWS_ID", "AWS_KEY", "PROXY", "REDACTION", "GATEWAY", "PLUGIN", "REFERRED")
PLANTED = {name: f"planted-{name.lower().replace('_', '-')}-6b1f0c9a7d3e4852" for name in NAMES}
"""Environment variable → secret."""
CONFIG = """\
auth: {{api-keys: {{}}, gateway: {{secret: "${{GATEWAY}}"}}}}
redaction: {{key: "${{REDACTION}}", rules: [{{field: extra.email, action: hash}}]}}
plugins: {{directory: plugins}}
pipelines:
  - name: webhook
    sink:
      name: webhook_sink
      properties:
        webhook-url: http://127.0.0.1:{port}/${{URL}}
        secret: ${{HMAC}}
        headers: {{Authorization: "Bearer ${{HEADER}}"}}
  - name: cloudwatch
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: /a
        endpoint-url: http://127.0.0.1:{port}
        access-key-id: ${{AWS_ID}}
        secret-access-key: ${{AWS_KEY}}
        proxy-url: http://me:${{PROXY}}@127.0.0.1:{port}
  - name: plugin
    sink: {{name: broken_sink, properties: {{password: "${{PLUGIN}}"}}}}
  - name: referred
    sink: {{name: refusing_sink, properties: {{password: "${{secretRef:referred}}"}}}}
"""
BROKEN = "def process(event, properties):\n    raise RuntimeError(f'cannot log in with {properties}')\n"
REFUSING = BROKEN.replace("RuntimeError", "ValueError")
PAGES = (
    "/live", "/health", "/info", "/api/v1/status", "/api/v1/dead-letters", "/metrics", "/docs", "/openapi.json",
    "/nowhere", "/api/v1/events/1", "/registry",
)  # fmt: skip


@pytest.fixture
def refusing() -> int:
    """Give a port at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_no_log_answer_page_metric_or_file_for_others_has_a_secret(serve, refusing, tmp_path: Path):
    (tmp_path / "plugins" / "sinks").mkdir(parents=True)
    (tmp_path / "plugins" / "sinks" / "broken_sink.py").write_text(BROKEN)
    (tmp_path / "plugins" / "sinks" / "refusing_sink.py").write_text(REFUSING)
    scopes = ["audit-event:write", "audit-event:read", "audit-event:operate"]
    (tmp_path / "data").mkdir(mode=0o700)
    key = KeyFile(tmp_path / "data" / "keys.json").create("all", "_platform", scopes)[1]
    environment = PLANTED | {"AUDITFLOW_TENANT__PLATFORM_REFERRED": PLANTED["REFERRED"]}
    running = serve(CONFIG.format(port=refusing), "--log-level", "debug", **environment)
    mine = {"Authorization": f"Bearer {key}"}
    answers = [running.publish(EVENT, headers=mine)]
    assert answers[0].status_code == 200

    def all_failed() -> bool:
        answers.append(httpx2.get(f"{running.url}/api/v1/status", headers=mine))
        return all(row["lastError"] or row["deadLettered"] for row in answers[-1].json()["pipelines"])

    wait_for(all_failed, what="every pipeline to meet its problem")
    for page in PAGES:
        answers += [httpx2.get(url + page, headers=mine) for url in (running.url, running.sink_url)]
    for headers in (
        {"X-Api-Key": key + "x"},
        {"X-Auth-Secret": PLANTED["GATEWAY"] + "x", "X-Auth-Tenant": "-"},
    ):
        answers.append(httpx2.get(f"{running.url}/api/v1/status", headers=headers))
    for sink, properties in (
        ("webhook_sink", {"webhook-url": f"http://127.0.0.1:1/{PLANTED['URL']}", "secret": PLANTED["HMAC"]}),
        ("webhook_sink", {"webhook-url": PLANTED["URL"], "secret": {"key": PLANTED["HMAC"]}}),
        (
            "webhook_sink",
            {"webhook-url": f"http://me:{PLANTED['URL']}/@a.example", "timeout": PLANTED["HMAC"]},
        ),
        ("broken_sink", {"password": PLANTED["PLUGIN"]}),
        (
            "aws_cloudwatch_sink",
            {"log-group": "/a", "access-key-id": PLANTED["AWS_ID"], "region": PLANTED["AWS_KEY"]},
        ),
        (
            "aws_cloudwatch_sink",
            {
                "log-group": "/a",
                "endpoint-url": f"http://me:{PLANTED['PROXY']}@127.0.0.1:1",
                "access-key-id": PLANTED["AWS_ID"],
                "secret-access-key": PLANTED["AWS_KEY"],
            },
        ),
    ):
        body = {"event_data": EVENT, "properties": properties}
        answers.append(httpx2.post(f"{running.sink_url}/sink/{sink}", json=body, headers=mine, timeout=60))
        assert answers[-1].status_code >= 400

    said = running.log + "".join(answer.text + json.dumps(dict(answer.headers)) for answer in answers)
    assert not [name for name, secret in {**PLANTED, "KEY": key}.items() if secret in said]
    data = [running.data, *running.data.rglob("*")]
    assert len(data) > 8
    assert not [path for path in data if path.stat().st_mode & 0o077]
    held = [path for path in data if path.is_file()]
    kept = {
        name: secret
        for name, secret in PLANTED.items()
        if any(secret.encode() in path.read_bytes() for path in held)
    }
    assert not kept, "a secret is on the disk"
    for role in ("ingest", "delivery"):
        limits = Path(f"/proc/{running.role(role)}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)


def test_the_process_that_faces_the_network_holds_no_secret_of_a_destination(serve, cloud):
    secrets = {
        "AWS_ACCESS_KEY_ID": "planted-id-0123456789",
        "AWS_SECRET_ACCESS_KEY": "planted-key-0123456789\n",
        "AWS_SESSION_TOKEN": "planted-token-0123456789\n",
        "AUDITFLOW_TENANT__PLATFORM_REFERRED": "planted-referred-0123456789",
    }
    running = serve(cloud=cloud, **secrets)
    running.publish(EVENT)
    assert running.settled()["delivered"] == 1, "delivery has them, without the line ends"
    ingest, delivery = (
        Path(f"/proc/{running.role(role)}/environ").read_text() for role in ("ingest", "delivery")
    )
    for name, secret in secrets.items():
        assert f"{name}={secret.strip()}\0" in delivery
        assert secret.strip() not in ingest
