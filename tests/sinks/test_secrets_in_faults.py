"""Whatever a destination answers, however it quotes what it was sent: no outcome repeats a secret of the sink."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.sinks._base import Verdict
from auditflow.sinks._module import ModuleSink
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.sinks.webhook_sink import WebhookProperties, WebhookSink

SECRETS = {name: f"{name}-6b1f0c9a7d3e/4852+x=" for name in ("token", "signing", "query", "header", "key")}
QUOTINGS = {
    "plain": str,
    "repr": repr,
    "json": json.dumps,
    "url": quote,
    "base64": lambda text: " ".join(base64.b64encode(word.encode()).decode() for word in text.split()),
    "hex": lambda text: " ".join(word.encode().hex() for word in text.split()),
}
CODES = (
    "AccessDeniedException",
    "ValidationException",
    "ResourceNotFoundException",
    "ThrottlingException",
    "Odd",
)


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, and with all the secrets besides, in its body and in its reason."""

    protocol_version = "HTTP/1.1"
    status, quoting, code = 400, "plain", "Odd"

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = QUOTINGS[self.quoting](f"{self.path} {dict(self.headers)} {' '.join(SECRETS.values())}")
        body = json.dumps({"__type": self.code, "message": told, "sent": len(sent)}).encode()
        self.send_response(self.status, QUOTINGS[self.quoting](SECRETS["header"]).replace("\n", " "))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Odd", quote(SECRETS["token"]))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def webhook(url):
    return WebhookSink(WebhookProperties.model_validate({
        "webhook-url": f"{url}/hook?key={quote(SECRETS['query'], safe='')}",
        "secret": SECRETS["signing"],
        "headers": {"Authorization": f"Bearer {SECRETS['header']}"},
    }))  # fmt: skip


def cloudwatch(url):
    return CloudWatchSink(CloudWatchProperties.model_validate({
        "log-group": "/a", "endpoint-url": url, "access-key-id": "AKIAEXAMPLE", "secret-access-key": SECRETS["key"],
        "session-token": SECRETS["token"],
    }))  # fmt: skip


def plugin(_url):
    def process(_event, properties):
        raise OSError(QUOTINGS[Echo.quoting](f"cannot log in with {properties}"))

    return ModuleSink("plugin", process, {"password": SECRETS["key"], "api_key": SECRETS["token"]})


@contextmanager
def answering(**how):
    before = {name: getattr(Echo, name) for name in how}
    for name, value in how.items():
        setattr(Echo, name, value)
    yield
    for name, value in before.items():
        setattr(Echo, name, value)


def forms():
    for name, secret in SECRETS.items():
        yield from ((name, form(secret).strip("\"'")) for form in QUOTINGS.values())


@pytest.mark.parametrize("make", [webhook, cloudwatch, plugin])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 301, 307, 400, 401, 403, 404, 413, 429, 500, 503]),
    quoting=st.sampled_from(sorted(QUOTINGS)),
    code=st.sampled_from(CODES),
)
def test_no_answer_brings_a_secret_into_an_outcome(echo, make, status, quoting, code):
    async def delivered():
        destination = Destination(make(echo))
        try:
            return await destination.deliver([b'{"eventType":"a"}'], PauseGate())
        finally:
            await destination.close()

    with answering(status=status, quoting=quoting, code=code):
        (outcome,) = asyncio.run(delivered())
    if outcome.verdict is not Verdict.DELIVERED:
        assert outcome.reason
    told = f"{outcome} {outcome.code} {outcome.reason} {outcome.hint}"
    for name, form in forms():
        assert form not in told, name


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\x00", "\u00e9"])
def test_a_credential_that_no_header_takes_blocks_and_is_not_shown(echo, end):
    token = f"planted-token-0123456789{end}"

    async def delivered():
        sink = CloudWatchSink(CloudWatchProperties.model_validate({
            "log-group": "/a", "endpoint-url": echo, "access-key-id": "AKIAEXAMPLE", "secret-access-key": SECRETS["key"],
            "session-token": token,
        }))  # fmt: skip
        destination = Destination(sink)
        try:
            return await destination.deliver([b"{}"], PauseGate())
        finally:
            await destination.close()

    (outcome,) = asyncio.run(delivered())
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "UncleanCredentialsError")
    assert "token" in outcome.reason
    assert "line end" in outcome.hint
    assert token.strip() not in str(outcome)
