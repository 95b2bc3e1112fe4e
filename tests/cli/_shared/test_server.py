"""Whatever answers at the url, or does not, is told in words that help."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from auditflow.cli._shared.server import ask
from auditflow.errors import ServerRefuses, ServerUnreachable


@pytest.fixture
def answering() -> Iterator[Callable[[int, bytes], str]]:
    """Give a function that starts a server with one answer to everything, and gives its url."""
    servers: list[HTTPServer] = []

    def answering(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(server := HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield answering
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_answer_is_given(answering, slash):
    assert ask(answering(200, b'{"a": 1}') + slash, "GET", "status") == {"a": 1}


def test_a_refusal_comes_in_the_servers_words_with_its_hint(answering):
    body = json.dumps({"code": "X", "message": "It cannot be done.", "hint": "Do that."}).encode()
    with pytest.raises(ServerRefuses) as refused:
        ask(answering(409, body), "GET", "status")
    assert (str(refused.value), refused.value.hint) == ("It cannot be done.", "Do that.")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (502, b"<html>Bad gateway", "it answers HTTP 502"),
        (404, b'{"detail": "Not Found"}', "it answers HTTP 404"),
        (200, b"<html>Welcome", "something else answers there"),
        (200, b"[]", "something else answers there"),
    ],
)
def test_what_is_not_auditflow_is_said_with_where_to_look(answering, status, body, reason):
    url = answering(status, body)
    with pytest.raises(ServerUnreachable, match=reason) as unreachable:
        ask(url, "GET", "status")
    assert url in str(unreachable.value)
    assert "--url" in unreachable.value.hint


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://", "nonsense", "ftp://127.0.0.1", "http://[::1"]
)
def test_a_way_that_leads_nowhere_is_said(url):
    with pytest.raises(ServerUnreachable) as unreachable:
        ask(url, "GET", "status")
    assert "--url" in unreachable.value.hint


def test_no_proxy_is_asked_for_this_machine_nor_sees_a_token(answering, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(answering(200, b"{}"), "GET", "status") == {}
