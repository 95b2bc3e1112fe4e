"""With the level at debug every request to AWS is a line that says what became of it, without secrets or events."""

from __future__ import annotations

import logging
import re
import socket
import threading

import pytest
from botocore.parsers import ResponseParserError

from auditflow.sinks._aws.request_log import CALLS
from auditflow.sinks._aws.session import AwsSession
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

SECRETS = ("the-secret-key", "the-session-token", "sesame-open", "proxy-password", "the event's content")
TOKEN = {"session-token": "the-session-token"}
ROLE = "arn:aws:iam::222222222222:role/Writer"


@pytest.fixture
def lines(caplog):
    """Give the lines that the AWS calls have logged so far."""
    with caplog.at_level(logging.DEBUG):
        yield lambda: [record.getMessage() for record in caplog.records if record.name == CALLS.name]
    everything = caplog.text
    assert not [secret for secret in SECRETS if secret in everything]
    assert "Signature" not in everything


def sink_at(url: str, **more: str) -> CloudWatchSink:
    given = {
        "log-group": "/acme/audit", "log-stream": "app", "region": "eu-west-1", "endpoint-url": url,
        "sts-endpoint-url": url, "access-key-id": "test", "secret-access-key": "the-secret-key",
        **more,
    }  # fmt: skip
    return CloudWatchSink(CloudWatchProperties.model_validate(given))


async def deliver(sink: CloudWatchSink) -> None:
    await sink.open()
    await sink.deliver([b'{"eventType":"a","extra":{"text":"the event\'s content"}}'])
    await sink.close()


async def test_a_line_names_operation_place_host_answer_request_time_and_size(cloud, lines):
    await deliver(sink_at(cloud.url))
    assert [line.split()[0] for line in lines()] == [
        "PutLogEvents", "CreateLogGroup", "CreateLogStream", "PutLogEvents",
    ]  # fmt: skip
    host = re.escape(cloud.url.removeprefix("http://"))
    place = f"PutLogEvents /acme/audit app at {host}"
    assert re.fullmatch(
        place + r": 400 ResourceNotFoundException \(request [-\w]+\) after \d+ ms, \d+ bytes sent", lines()[0]
    )
    assert re.fullmatch(place + r": 200 \(request [-\w]+\) after \d+ ms, \d+ bytes sent", lines()[-1])


async def test_the_calls_for_a_role_are_lines_too(lines):
    with StrictCloudWatch() as cloud:
        source = "arn:aws:iam::111111111111:user/source"
        cloud.add_identity("test", "the-secret-key", account="111111111111", arn=source)
        cloud.add_role(ROLE, trust=["arn:aws:iam::111111111111:root"], external_id="sesame-open")
        await deliver(sink_at(cloud.url, **{"role-arn": ROLE, "external-id": "sesame-open"}))
    assert [line for line in lines() if line.startswith(f"AssumeRole {ROLE} at 127.0.0.1:")]


async def test_a_call_without_an_answer_names_what_happened_instead(lines):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    proxied = {"proxy-url": f"http://user:proxy-password@127.0.0.1:{port}"}
    await deliver(sink_at(f"http://127.0.0.1:{port}", **TOKEN))
    await deliver(sink_at("http://logs.example", **TOKEN, **proxied))
    refused, unproxied = lines()
    assert "EndpointConnectionError after" in refused
    assert "at logs.example: ProxyConnectionError after" in unproxied


def test_an_answer_that_cannot_be_read_is_a_line_too(lines):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=answer_with_a_page, args=(server,), daemon=True).start()
        keys = {"access-key-id": "test", "secret-access-key": "the-secret-key"}
        properties = CloudWatchProperties.model_validate({"log-group": "/a", "endpoint-url": url} | keys)
        session = AwsSession(properties, "sts", 1, lambda _client: None)
        with pytest.raises(ResponseParserError):
            session.client().get_caller_identity()
        session.close()
    (line,) = lines()
    assert re.fullmatch(r"GetCallerIdentity at 127.0.0.1:\d+: ResponseParserError after \d+ ms", line)


def answer_with_a_page(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")


async def test_nothing_is_logged_at_the_usual_level(cloud, caplog):
    with caplog.at_level(logging.INFO):
        await deliver(sink_at(cloud.url))
    assert not [record for record in caplog.records if record.name == CALLS.name]
