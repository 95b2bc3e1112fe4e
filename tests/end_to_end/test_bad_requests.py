"""Requests that are malformed, oversized, wrongly typed or encoded: each is answered, and the server goes on."""

from __future__ import annotations

import gzip
import json
import socket
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

from .conftest import CLOUDWATCH, Serve

GROUP = "/aws/auditflow/test"
EVENT = {"eventType": "a", "sourceSystem": "b"}
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
LIMITS = """\
server: {max-request-bytes: 1MiB, max-event-bytes: 200KiB, max-request-events: 1000}
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[StrictCloudWatch]:
    with StrictCloudWatch() as double:
        yield double


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, cloud: StrictCloudWatch) -> Iterator[Serve]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    environment = {"AWS_ENDPOINT_URL": cloud.url} | keys
    serve = Serve(tmp_path_factory.mktemp("requests"), CLOUDWATCH + LIMITS, environment, ()).start()
    yield serve
    row = serve.settled()
    assert row["accepted"] == row["delivered"] == len(cloud.events(GROUP))
    assert serve.stop() == 0
    assert "Traceback" not in serve.log
    assert "it starts again" not in serve.log, "a role has died"


@pytest.fixture(autouse=True)
def _goes_on(running: Serve):
    """After every request of this file events are still taken, and both processes are there."""
    yield
    assert running.publish(EVENT).status_code == 200
    assert httpx2.get(running.sink_url + "/ready").status_code == 200


def post(running: Serve, content: bytes, headers: dict[str, str], path: str = "/audit/publish"):
    return httpx2.post(running.url + path, content=content, headers=headers, timeout=60)


def text(**fields: object) -> bytes:
    return json.dumps(EVENT | fields).encode()


REFUSED = {
    "no body": (b"", JSON, 400, "no event"),
    "blank body": (b" \n ", JSON, 400, "no event"),
    "no object": (b'"text"', JSON, 400, "must be a JSON object"),
    "null": (b"null", JSON, 400, "must be a JSON object"),
    "number": (b"1e999", JSON, 400, ""),
    "cut off": (text()[:-1], JSON, 400, "not valid JSON"),
    "trailing garbage": (text() + b"}", JSON, 400, "not valid JSON"),
    "two events in JSON": (text() + text(), JSON, 400, "not valid JSON"),
    "NaN": (b'{"eventType":"a","sourceSystem":"b","x":NaN}', JSON, 400, "not valid JSON"),
    "control character": (b'{"eventType":"a\x00","sourceSystem":"b"}', JSON, 400, "not valid JSON"),
    "latin-1": ('{"eventType":"é","sourceSystem":"b"}'.encode("latin-1"), JSON, 400, "UTF-8"),
    "latin-1 in extra": (
        '{"eventType":"e","sourceSystem":"b","extra":{"x":"é"}}'.encode("latin-1"),
        JSON,
        400,
        "UTF-8",
    ),
    "UTF-16": (text().decode().encode("utf-16"), JSON, 400, ""),
    "lone surrogate": (
        b'{"eventType":"\\ud800","sourceSystem":"b"}',
        JSON,
        400,
        "unpaired surrogate",
    ),
    "binary": (bytes(range(256)), JSON, 400, ""),
    "missing field": (b'{"eventType":"a"}', JSON, 400, "sourceSystem"),
    "empty field": (text(eventType=""), JSON, 400, "eventType"),
    "long field": (text(sourceSystem="x" * 256), JSON, 400, "sourceSystem"),
    "wrong type": (text(eventType=5), JSON, 400, "eventType"),
    "bad id": (text(eventId="not-a-uuid"), JSON, 400, "eventId"),
    "bad time": (text(eventTime="yesterday"), JSON, 400, "eventTime"),
    "bad day": (text(eventTime="2026-02-31T00:00:00Z"), JSON, 400, "eventTime"),
    "bad tenant": (text(tenantId="../../etc"), JSON, 400, "tenantId"),
    "bad extra": (text(extra=[1]), JSON, 400, "extra"),
    "wide extra": (text(extra={str(n): n for n in range(65)}), JSON, 400, "65 keys"),
    "bad geolocation": (text(geolocation={"lat": "north"}), JSON, 400, "geolocation.lat"),
    "deep": (text()[:-1] + b',"extra":{"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}}", JSON, 400, "nested"),
    "deep array": (b"[" * 100_000 + b"]" * 100_000, JSON, 400, ""),
    "large event": (text(extra={"x": "y" * 300_000}), JSON, 413, "200KiB"),
    "large request": (text(extra={"x": "y" * 2_000_000}), JSON, 413, "1MiB"),
    "many events": (b"\n".join([text()] * 1001), NDJSON, 413, "1001 events"),
    "empty array": (b"[]", JSON, 400, "no event"),
    "broken array": (b"[" + text(), JSON, 400, "array"),
    "array of no events": (b'[1, null, "x", [], {}]', JSON, 400, "No event"),
    "no type": (text(), {}, 415, "Content-Type"),
    "wrong type of content": (text(), {"Content-Type": "text/plain"}, 415, "text/plain"),
    "form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
    "charset": (text(), {"Content-Type": "application/json; charset=latin-1"}, 415, "charset"),
    "encoding": (text(), JSON | {"Content-Encoding": "br"}, 415, "Content-Encoding"),
    "no gzip": (text(), JSON | {"Content-Encoding": "gzip"}, 400, "gzip"),
    "cut gzip": (gzip.compress(text())[:-9], JSON | {"Content-Encoding": "gzip"}, 400, "gzip"),
    "gzip bomb": (gzip.compress(b" " * 50_000_000), JSON | {"Content-Encoding": "gzip"}, 413, "inflation"),
    "gzip in gzip": (gzip.compress(gzip.compress(text())), JSON | {"Content-Encoding": "gzip"}, 400, ""),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_request_is_refused_with_what_is_wrong(running, case):
    content, headers, status, words = case
    answer = post(running, content, headers)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, "VALIDATION_ERROR")
    assert words in problem["message"]
    assert len(problem["message"]) < 400
    assert {"timestamp", "traceId"} <= problem.keys()
    assert "Traceback" not in answer.text
    assert str(running.folder) not in answer.text


def test_the_good_events_of_a_bad_request_are_taken_and_the_others_named(running):
    lines = [text(), b"garbage", text(eventId=1), b"\xff\xfe", text(eventTime="?"), text()]
    answer = post(running, b"\n".join(lines), NDJSON).json()
    assert answer["accepted"] == 2
    assert [rejection["index"] for rejection in answer["rejected"]] == [1, 2, 3, 4]


def test_other_methods_and_paths_are_refused(running):
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = httpx2.request(method, running.url + "/audit/publish")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    for path in ("/audit", "/audit/publish//x", "/audit/../etc/passwd", "/%00", "/audit/publish%0a"):
        assert post(running, text(), JSON, path).status_code == 404, path
    assert post(running, text(), JSON, "/").status_code == 405
    assert post(running, text(), JSON, "/api/v1/status").json()["code"] == "VALIDATION_ERROR"


def test_a_hostile_correlation_id_is_not_taken_over(running):
    for bad in ("x" * 65, "<script>", "a b", "../.."):
        answer = post(running, text(), JSON | {"X-Correlation-ID": bad})
        assert answer.status_code == 200
        assert uuid.UUID(answer.headers["x-correlation-id"])
    running.settled()


# below HTTP


def raw(running: Serve, *parts: bytes, pause: float = 0.0, end: bool = False, port: str = "url") -> bytes:
    """Send bytes, close the sending side if told to, and give what comes back until the other side closes."""
    address = urlsplit(getattr(running, port))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def request(body: bytes, *headers: str, length: int | None = None, close: bool = True) -> bytes:
    lines = ["POST /audit/publish HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {len(body) if length is None else length}"] if length != -1 else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("port", ["url", "sink_url"])
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        bytes(range(256)) * 20,
        b"GET\r\n\r\n",
        b"POST /audit/publish HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus one\r\n\r\n{}",
        b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
        b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /audit/publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n{}\r\n0\r\n\r\n",
    ],
    ids=[
        "TLS",
        "binary",
        "no path",
        "version",
        "HTTP/2",
        "length",
        "negative",
        "overflow",
        "two",
        "chunk",
    ],
)
def test_what_is_not_http_is_refused(running, garbage, port):
    answer = raw(running, garbage, end=True, port=port)
    assert not answer or b" 40" in answer.partition(b"\r\n")[0], answer
    assert b"Traceback" not in answer


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_request_that_breaks_off_is_not_taken(running, share):
    whole = request(text())
    before = running.status()["accepted"]
    for _ in range(5):
        raw(running, whole[: int(len(whole) * share)], end=True)
    assert running.status()["accepted"] == before


def test_a_body_shorter_than_declared_is_not_taken(running):
    before = running.status()["accepted"]
    raw(running, request(text(), length=1000), end=True)
    assert running.status()["accepted"] == before


def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(running):
    answer = raw(running, request(b"", length=10**12))
    assert b" 413 " in answer


def test_a_body_longer_than_declared_is_cut_there(running):
    answer = raw(running, request(text() + b"garbage", length=len(text())))
    assert b" 200 " in answer


def test_both_a_length_and_chunks_are_never_two_requests(running):
    before = running.status()["accepted"]
    smuggled = request(text(), close=True)
    body = b"0\r\n\r\n" + smuggled
    raw(running, request(body, "Transfer-Encoding: chunked", length=4, close=False), end=True)
    assert running.status()["accepted"] == before


def test_chunks_and_expect_continue_are_understood(running):
    head = request(b"", "Transfer-Encoding: chunked", length=-1)
    pieces = [b"%x\r\n%b\r\n" % (1, bytes([byte])) for byte in text()]
    assert b" 200 " in raw(running, head, *pieces, b"0\r\n\r\n")
    assert b" 413 " in raw(running, head, *[b"%x\r\n%b\r\n" % (2**18, b" " * 2**18)] * 5)
    answer = raw(running, request(b"", "Expect: 100-continue", length=len(text())), text(), pause=0.1)
    assert b" 200 " in answer


def test_pipelined_requests_are_answered_in_order(running):
    ids = [str(uuid.uuid4()) for _ in range(20)]
    requests = [request(text(eventId=each), close=False) for each in ids[:-1]]
    answer = raw(running, b"".join([*requests, request(text(eventId=ids[-1]))]))
    assert answer.count(b"HTTP/1.1 200") == 20
    places = [answer.index(b'"eventId":"%s"' % each.encode()) for each in ids]
    assert places == sorted(places)


def test_slow_clients_do_not_hold_up_the_others(running):
    address = urlsplit(running.url)
    slow = [socket.create_connection((address.hostname, address.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(request(text())[:-5])
        assert running.publish(EVENT).status_code == 200
        for connection in slow[:20]:
            connection.sendall(text()[-5:])
        for connection in slow[:20]:
            assert b" 200 " in connection.recv(65536)
    finally:
        for connection in slow:
            connection.close()


# the sink service


SINK_REFUSED = {
    "no JSON": ("/sink/logging_sink", b"{", 400, ""),
    "no object": ("/sink/logging_sink", b"[]", 400, ""),
    "binary": ("/sink/logging_sink", bytes(range(256)), 400, ""),
    "no event": ("/sink/logging_sink", b"{}", 400, "event_data"),
    "both": ("/sink/logging_sink", b'{"event_data":{},"events":[{}]}', 400, "either"),
    "no events": ("/sink/logging_sink", b'{"events":[]}', 400, "events"),
    "event is text": ("/sink/logging_sink", b'{"event_data":"x"}', 400, "event_data"),
    "events are numbers": ("/sink/logging_sink", b'{"events":[1]}', 400, "events"),
    "other member": ("/sink/logging_sink", b'{"event_data":{},"what":1}', 400, "what"),
    "properties are a list": ("/sink/logging_sink", b'{"event_data":{},"properties":[]}', 400, "properties"),
    "deep": ("/sink/logging_sink", b'{"event_data":' + b'{"x":' * 50_000 + b"1" + b"}" * 50_001, 400, ""),
    "surrogate": ("/sink/logging_sink", b'{"event_data":{"x":"\\ud800"}}', 400, "surrogate"),
    "NaN": ("/sink/logging_sink", b'{"event_data":{"x":NaN}}', 400, ""),
    "unknown property": (
        "/sink/aws_cloudwatch_sink",
        b'{"event_data":{},"properties":{"log-groop":"x"}}',
        422,
        "log-groop",
    ),
    "bad property": (
        "/sink/aws_cloudwatch_sink",
        b'{"event_data":{},"properties":{"log-group":"x","max-in-flight":"lots"}}',
        422,
        "max-in-flight",
    ),
    "unknown sink": ("/sink/aws_cloudwatch", b'{"event_data":{}}', 404, "aws_cloudwatch"),
    "bad name": ("/sink/a-b", b'{"event_data":{}}', 400, "letters"),
    "a way out": ("/sink/..%2f..%2fetc", b'{"event_data":{}}', 404, ""),
    "module name": ("/sink/os", b'{"event_data":{}}', 404, "os"),
    "private module": ("/sink/_aws", b'{"event_data":{}}', 404, "_aws"),
    "unknown transformer": ("/transform/one", b"{}", 404, "one"),
    "transform a list": ("/transform/zero", b"[]", 400, ""),
    "large": ("/sink/logging_sink", b'{"event_data":{"x":"' + b"y" * 2**21 + b'"}}', 413, "1MiB"),
}


@pytest.mark.parametrize("case", SINK_REFUSED.values(), ids=SINK_REFUSED.keys())
def test_a_bad_call_of_the_sink_service_is_refused_with_what_is_wrong(running, case):
    path, content, status, words = case
    answer = httpx2.post(running.sink_url + path, content=content, headers=JSON, timeout=60)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert {"code", "message", "timestamp", "traceId"} <= answer.json().keys()
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=str,
)
@pytest.mark.parametrize(
    ("port", "path"),
    [("url", "/audit/publish"), ("url", "/api/v1/pipelines/cloudwatch/pause"), ("url", "/api/v1/reload"),
     ("sink_url", "/sink/logging_sink")],
)  # fmt: skip
def test_a_web_page_publishes_and_operates_nothing(running, port, path, headers):
    before = running.status()
    answer = httpx2.post(getattr(running, port) + path, json=EVENT, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    after = running.status()
    assert (after["state"], after["accepted"]) == (before["state"], before["accepted"])


def test_a_name_that_is_not_the_servers_reads_nothing(running):
    for url in (f"{running.url}/api/v1/status", f"{running.url}/live", f"{running.sink_url}/registry"):
        answer = httpx2.get(url, headers={"Host": "evil.example"}, timeout=60)
        assert answer.status_code == 403
        assert "server.hosts" in answer.json()["hint"]
