import gzip
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from auditflow import client
from auditflow.client import Chunk, Publisher, Report, read_events
from auditflow.errors import PublishGivenUp, UnreadableEvents

EVENT = b'{"eventType":"a","sourceSystem":"b"}'
FINE = (200, {"accepted": 1, "duplicates": 0, "rejected": []})


class Server(BaseHTTPRequestHandler):
    """Answers as it is scripted, and keeps what it was sent. "drop" closes the connection without an answer."""

    script: ClassVar[list[Any]] = []
    bodies: ClassVar[list[bytes]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        step = self.script.pop(0) if self.script else FINE
        if step == "drop":
            self.close_connection = True
            return
        status, body, headers = (*step, {})[:3]
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(client, "PAUSE_SECONDS", 0.01)
    Server.script, Server.bodies = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def chunk_of(folder: Path, content: bytes, name: str = "events.ndjson", size: int = 100) -> Chunk:
    (folder / name).write_bytes(content)
    (chunk,) = read_events(folder / name, size)
    return chunk


def publish(url: str, chunk: Chunk, patience: float = 5.0) -> Report:
    report = Report()
    with Publisher(url, patience) as publisher:
        publisher.publish(chunk, report)
    return report


@pytest.mark.parametrize(
    "step",
    [
        "drop",
        (503, {"code": "PUBLISH_FAILED", "message": "Full"}, {"Retry-After": "0"}),
        (429, {"message": "Slow down"}, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}),
        (502, b"<html>Bad gateway</html>"),
    ],
)
def test_a_retry_sends_the_same_events_with_the_same_ids(url, tmp_path, step):
    Server.script = [step, step]
    report = publish(url, chunk_of(tmp_path, EVENT))
    assert report.accepted == 1
    assert len(Server.bodies) == 3
    assert len(set(Server.bodies)) == 1
    uuid.UUID(json.loads(Server.bodies[0])["eventId"])


def test_it_waits_as_long_as_the_server_asks(url, tmp_path):
    Server.script = [(503, {"message": "Full"}, {"Retry-After": "1"})]
    started = time.monotonic()
    publish(url, chunk_of(tmp_path, EVENT))
    assert time.monotonic() - started >= 1


def test_when_patience_ends_it_says_how_many_were_accepted_and_why(url, tmp_path):
    Server.script = [FINE] + [(503, {"message": "The journal is full"}, {"Retry-After": "1"})] * 9
    report = Report()
    with Publisher(url, patience=0.2) as publisher:
        publisher.publish(chunk_of(tmp_path, EVENT), report)
        with pytest.raises(
            PublishGivenUp, match=r"HTTP 503: The journal is full\. 1 were accepted before"
        ) as caught:
            publisher.publish(chunk_of(tmp_path, EVENT), report)
    assert "auditflow serve" in caught.value.hint


def test_a_server_that_is_not_there_is_given_up_after_patience(tmp_path):
    with pytest.raises(PublishGivenUp, match="0 were accepted before"):
        publish("http://127.0.0.1:1", chunk_of(tmp_path, EVENT), patience=0.0)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://localhost:x", "nonsense"])
def test_an_address_that_cannot_be_right_is_given_up_at_once(tmp_path, url, monkeypatch):
    monkeypatch.setattr("auditflow.client.time.sleep", pytest.fail)
    with pytest.raises(PublishGivenUp):
        publish(url, chunk_of(tmp_path, EVENT), patience=60)


@pytest.mark.parametrize(
    "step", [(404, {"message": "Not Found"}), (200, b"<html>Welcome</html>"), (200, [1]), (401, b"")]
)
def test_an_answer_that_no_retry_changes_is_given_up_at_once(url, tmp_path, step):
    Server.script = [step]
    with pytest.raises(PublishGivenUp, match=f"HTTP {step[0]}"):
        publish(url, chunk_of(tmp_path, EVENT), patience=60)
    assert len(Server.bodies) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_a_rejected_event_is_reported_with_its_file_and_line(url, tmp_path, status):
    rejected = [{"index": 1, "code": "VALIDATION_ERROR", "message": "eventType: required"}]
    Server.script = [(status, {"accepted": 1, "duplicates": 1, "rejected": rejected})]
    report = publish(url, chunk_of(tmp_path, EVENT + b"\n\n{}\n" + EVENT))
    assert (report.accepted, report.duplicates) == (1, 1)
    assert report.rejected == [(f"{tmp_path}/events.ndjson:3", "eventType: required")]


def test_an_id_that_is_there_is_kept_and_the_rest_of_the_line_untouched(tmp_path):
    known = b'{"eventId": "x",  "n": 1.0}'
    chunk = chunk_of(tmp_path, known + b"\n" + b'  {"n": 1.0, "\xc3\xa9": 12345678901234567890123}  ')
    assert chunk.events[0] == known
    added = chunk.events[1]
    uuid.UUID(json.loads(added)["eventId"])
    assert added.endswith(b'"n": 1.0, "\xc3\xa9": 12345678901234567890123}')


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"17", b'"text"', b'{"a":', b"\xff\xfe", b"null"])
def test_a_line_that_is_no_event_is_left_for_the_server_to_refuse(tmp_path, line):
    chunk = chunk_of(tmp_path, EVENT + b"\n" + line)
    assert chunk.events[1] == line
    assert chunk.places[1].endswith("events.ndjson:2")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (json.dumps({"n": 1}, indent=4), 1),
        (json.dumps([{"n": 1}, {"n": 2}], indent=4), 2),
        ('\n [{"n": 1},\r\n {"n": 2}, {"n": "a\\nb"}] \n', 3),
        ("[]", 0),
    ],
)
def test_a_json_file_is_one_event_or_an_array_however_it_is_laid_out(tmp_path, text, count):
    (tmp_path / "events.json").write_text(text)
    events = [event for chunk in read_events(tmp_path / "events.json", 2) for event in chunk.events]
    assert len(events) == count
    for event in events:
        assert b"\n" not in event
        assert json.loads(event).keys() == {"eventId", "n"}


def test_standard_input_is_read_as_lines(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(EVENT + b"\n" + EVENT)))
    (chunk,) = read_events(Path("-"), 10)
    assert chunk.places == ["-:1", "-:2"]


def test_events_come_in_chunks_of_the_size_that_was_asked_for(tmp_path):
    (tmp_path / "many.ndjson").write_bytes((EVENT + b"\n") * 5)
    assert [len(chunk.events) for chunk in read_events(tmp_path / "many.ndjson", 2)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("name", "content"), [("torn.json", b'[{"n": 1}'), ("two.json", b'{"n": 1}\n{"n": 2}'), ("", b"")]
)
def test_a_file_that_cannot_be_read_is_named_with_what_is_expected(tmp_path, name, content):
    path = tmp_path / name if name else tmp_path
    if name:
        path.write_bytes(content)
    with pytest.raises(UnreadableEvents) as caught:
        list(read_events(path, 10))
    assert str(path) in str(caught.value)
    assert "one event a line" in caught.value.hint


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UnreadableEvents, match=r"nowhere\.ndjson cannot be read: No such file"):
        list(read_events(Path("nowhere.ndjson"), 10))


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.9.9.9", True),
        ("https://localhost:8443/", True),
        ("http://a.localhost", True),
        ("http://[::1]:8080", True),
        ("http://audit.example", False),
        ("http://10.0.0.1", False),
        ("http://[", False),
    ],
)
def test_which_servers_are_on_this_machine(url: str, is_here: bool):
    assert client.is_loopback(url) is is_here


@pytest.mark.parametrize("name", ["events.ndjson.gz", "events.json.gz", "events.gz"])
def test_a_compressed_file_is_read(tmp_path, name):
    file = tmp_path / name
    event = b'{"eventType":"a","eventId":"01a21d87-874d-77a2-8055-8ff9ba085e72"}'
    file.write_bytes(gzip.compress(event + (b"" if "json.gz" in name and "nd" not in name else b"\n")))
    (chunk,) = read_events(file, 10)
    assert chunk.events == [event]


def test_a_compressed_file_that_is_cut_is_said_to_be_so(tmp_path):
    file = tmp_path / "events.ndjson.gz"
    file.write_bytes(gzip.compress(b"{}\n" * 1000)[:-10])
    with pytest.raises(UnreadableEvents):
        list(read_events(file, 10))


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("given", [b"", b'"eventId":null,', b'"eventId":"",'])
def test_every_event_has_its_id_before_it_is_sent(tmp_path, start, given):
    file = tmp_path / "events.ndjson"
    file.write_bytes(start + b'{%s"eventType":"a"}\n' % given)
    (chunk,) = read_events(file, 10)
    assert uuid.UUID(json.loads(chunk.events[0])["eventId"])
