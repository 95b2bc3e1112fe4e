"""Credentials that a container is handed over HTTP: EKS Pod Identity and ECS tasks. botocore asks, AuditFlow renews."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from .conftest import wait_for
from .test_accounts import configuration, ids, no_aws_configuration, pipeline, publish  # noqa: F401 - a fixture

ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/AuditFlowPodRole"
LIFETIME = 2.0
"""Seconds that a key is good for; botocore asks for another one each time it signs so near to the end."""

pytestmark = pytest.mark.timeout(120)


class Agent:
    """Hands out short-lived keys to who shows the token, as the Pod Identity agent and ECS do."""

    def __init__(self, cloud, token: str) -> None:
        self.token = token
        self.handed = 0
        self._cloud = cloud
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers.get("Authorization") == agent.token
                body = json.dumps(agent.key() if allowed else {"message": "who are you?"}).encode()
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/credentials"

    def key(self) -> dict[str, str]:
        """Make a key that the cloud knows until it ends."""
        self.handed += 1
        name, ends = f"ASIAPOD{self.handed}", time.time() + LIFETIME
        self._cloud.add_identity(
            name, "pod-secret", account=ACCOUNT, arn=ROLE, token="pod-token", expires=ends
        )
        at = datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z")
        return {
            "AccessKeyId": name,
            "SecretAccessKey": "pod-secret",
            "Token": "pod-token",
            "Expiration": at,
        }


@pytest.fixture
def agent(cloud) -> Iterator[Agent]:
    cloud.add_identity("AKIASOMEBODY", "secret")  # from now on unknown keys are refused
    agent = Agent(cloud, "the-agents-token")
    Thread(target=agent.server.serve_forever, daemon=True).start()
    yield agent
    agent.server.shutdown()
    agent.server.server_close()


def told_by(kind: str, agent: Agent, tmp_path) -> dict[str, str]:
    """Give the variables that the platform puts into the container."""
    variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": agent.url}
    if kind == "ECS":
        return variables | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": agent.token}
    token = tmp_path / "eks-pod-identity-token"
    token.write_text(agent.token)
    return variables | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token)}


@pytest.mark.parametrize("kind", ["Pod Identity", "ECS"])
def test_keys_that_expire_on_the_way_are_renewed_and_no_event_is_lost_or_repeated(
    serve, cloud, agent, tmp_path, kind
):
    environment = {"AWS_ENDPOINT_URL": cloud.url, **told_by(kind, agent, tmp_path)}
    running = serve(configuration(pipeline()), **environment)
    published = []
    end = time.monotonic() + 3 * LIFETIME
    while time.monotonic() < end:
        published += publish(running, 5)
        running.settled()
    assert sorted(ids(cloud, ACCOUNT)) == sorted(published)
    assert agent.handed > 3
    assert {each.identity for each in cloud.requests if each.outcome == "ok"} == {ROLE}


def test_a_token_that_is_refused_holds_events_until_it_is_right(serve, cloud, agent, tmp_path):
    variables = told_by("Pod Identity", agent, tmp_path)
    token = tmp_path / "eks-pod-identity-token"
    token.write_text("a wrong one")
    running = serve(configuration(pipeline()), AWS_ENDPOINT_URL=cloud.url, **variables)
    published = publish(running, 5)
    wait_for(lambda: running.status()["state"] != "active", 120, "the pipeline to show its problem")
    error = running.status()["lastError"]
    assert "401" in error["message"]
    assert "the-agents-token" not in running.log
    token.write_text(agent.token)
    running.settled()
    assert sorted(ids(cloud, ACCOUNT)) == sorted(published)
