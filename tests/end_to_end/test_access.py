"""A real `auditflow serve`: who gets in, by which way, to what; and over which kind of connection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from auditflow.ingest.auth.keys import KeyFile
from auditflow.testing.identity_provider import IdentityProvider

from .conftest import wait_for

SECRET = "0123456789abcdef0123456789abcdef"
EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
RIGHTS = ("write", "read", "operate")
CALLS = {
    ("POST", "/audit/publish"): "write",
    ("GET", "/api/v1/status"): "read",
    ("GET", "/metrics"): "read",
    ("GET", "/docs"): "read",
    ("POST", "/api/v1/reload"): "operate",
    ("DELETE", "/api/v1/dead-letters?all=true"): "operate",
}
PIPELINES = "pipelines: [{name: log, sink: {name: logging_sink}}]\n"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


def auditflow(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditflow", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def key(tmp_path: Path) -> Callable[..., str]:
    """Give a function that makes a key, in the data directory that `serve` will have."""

    def key(*rights: str) -> str:
        scopes = [f"audit-event:{right}" for right in rights]
        return KeyFile(tmp_path / "data" / "keys.json").create("test", "_platform", scopes)[1]

    return key


def called(url: str, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    content = json.dumps(EVENT) if method == "POST" else None
    typed = headers | ({"Content-Type": "application/json"} if content else {})
    return httpx2.request(method, url + path, content=content, headers=typed, timeout=30)


def test_each_way_in_opens_what_it_has_the_right_to_and_nothing_else(serve, provider, key):
    callers: list[tuple[str, dict[str, str]]] = []
    for right in RIGHTS:
        scope = f"audit-event:{right}"
        token = provider.token(tenant="_platform", scope=f"openid {scope}")
        callers += [
            (right, {"X-Api-Key": key(right)}),
            (right, {"Authorization": f"Bearer {token}"}),
            (right, {"X-Auth-Secret": SECRET, "X-Auth-Tenant": "-", "X-Auth-Scopes": scope}),
        ]
    auth = {"api-keys": {}, "jwt": provider.settings, "gateway": {"secret": SECRET}}
    running = serve(f"{PIPELINES}auth: {json.dumps(auth)}\n", "--host", "0.0.0.0")
    url = running.url.replace("0.0.0.0", "127.0.0.1")
    for (method, path), needed in CALLS.items():
        assert called(url, method, path, {}).status_code == 401
        assert called(url, method, path, {"X-Auth-Scopes": f"audit-event:{needed}"}).status_code == 401
        for right, headers in callers:
            status = called(url, method, path, headers).status_code
            assert status == (200 if right == needed else 403), (method, path, right, headers)
    for right, headers in callers:
        answer = called(running.sink_url, "GET", "/registry", headers)
        assert answer.status_code == (200 if right == "operate" else 403)
    for probe in ("/live", "/ready", "/health", "/info"):
        assert httpx2.get(url + probe).status_code == 200
        assert httpx2.get(running.sink_url + probe).status_code == 200
    secrets = [value.removeprefix("Bearer ") for _, headers in callers for value in headers.values()]
    assert not [secret for secret in secrets if len(secret) >= 32 and secret in running.log]
    counted = httpx2.get(f"{url}/metrics", headers={"X-Api-Key": callers[3][1]["X-Api-Key"]}).text
    assert 'auditflow_refused_calls_total{reason="missing"}' in counted


def test_an_identity_provider_is_connected_as_the_page_says(serve, provider):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "secure.md").read_text()
    (block,) = [
        block
        for block in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        if "jwt:" in block
    ]
    block = block.replace("https://login.example.com/realms/main/keys", f"{provider.url}/jwks")
    running = serve(block.replace("https://login.example.com/realms/main", provider.url))
    token = provider.token(tenant="_platform", scope="audit-event:write")
    good = {"Authorization": f"Bearer {token}"}
    assert called(running.url, "POST", "/audit/publish", good).status_code == 200
    tenantless = {"Authorization": f"Bearer {provider.token(scope='audit-event:write')}"}
    assert called(running.url, "POST", "/audit/publish", tenantless).status_code == 401


def test_a_key_that_is_revoked_is_refused_within_a_second_or_so(serve):
    running = serve(f"{PIPELINES}auth: {{api-keys: {{}}}}\n")
    data = ("--data-dir", str(running.data))
    made = auditflow("keys", "create", "--name", "web", *data)
    headers = {"X-Api-Key": made.stdout.strip()}
    wait_for(
        lambda: called(running.url, "POST", "/audit/publish", headers).status_code == 200, 120, "the key"
    )
    auditflow("keys", "revoke", made.stdout.split("_")[1], *data)
    wait_for(
        lambda: called(running.url, "POST", "/audit/publish", headers).status_code == 401, 120, "its end"
    )


@pytest.mark.parametrize("flag", ["--host", "--sink-host"])
def test_without_auth_serve_refuses_to_be_reached_from_elsewhere(tmp_path: Path, flag: str):
    (tmp_path / "auditflow.yaml").write_text(PIPELINES)
    options = ("--config", str(tmp_path / "auditflow.yaml"), "--data-dir", str(tmp_path / "data"))
    refused = auditflow("serve", *options, "--port", "0", "--sink-port", "0", flag, "0.0.0.0")
    assert refused.returncode == 1
    assert "Whoever reaches 0.0.0.0 could publish, read and purge" in refused.stderr
    assert f"listen on 127.0.0.1 with {flag}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_commands_and_publishers_come_over_mutual_tls_with_a_key(serve, issue, key, tmp_path):
    certificate, private = issue()
    client, client_key = issue("client")
    both = tmp_path / "both.pem"
    both.write_bytes(client.read_bytes() + client_key.read_bytes())
    token = tmp_path / "token"
    token.write_text(key("read", "write") + "\n")
    tls = {"certificate": str(certificate), "key": str(private), "client-ca": str(client)}
    running = serve(f"{PIPELINES}auth: {{api-keys: {{}}}}\nserver: {{tls: {json.dumps(tls)}}}\n")
    assert running.url.startswith("https://127.0.0.1:")
    assert running.sink_url.startswith("https://127.0.0.1:")
    access = {
        "AUDITFLOW_CA": str(certificate),
        "AUDITFLOW_CLIENT_CERTIFICATE": str(both),
        "AUDITFLOW_URL": running.url,
    }
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    published = auditflow("--token-file", str(token), "publish", str(tmp_path / "event.json"), **access)
    assert published.stdout == "1 accepted, 0 duplicates, 0 rejected\n", published.stderr
    shown = auditflow("status", **access, AUDITFLOW_TOKEN=token.read_text())
    assert shown.returncode == 0, shown.stderr
    keyless = auditflow("status", **access)
    assert "no credential was sent" in keyless.stderr
    assert "AUDITFLOW_TOKEN" in keyless.stderr
    untrusting = auditflow("status", AUDITFLOW_URL=running.url)
    assert "certificate verify failed" in untrusting.stderr
    assert "--ca" in untrusting.stderr
    nameless = auditflow("status", AUDITFLOW_URL=running.url, AUDITFLOW_CA=str(certificate))
    assert nameless.returncode == 1
    assert "cannot be reached" in nameless.stderr
    assert running.stop() == 0
