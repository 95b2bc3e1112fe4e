"""Whatever a server answers, the thread that asked comes back in time, and no answer is taken for another's."""

import resource
import time

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.hostile_server import ANSWERS, HostileServer, answer

DELIVERED, UNKNOWN, AGAIN = (Verdict.DELIVERED, False), (Verdict.RETRY, True), (Verdict.RETRY, False)
BLOCKED, REJECTED = (Verdict.BLOCKED, False), (Verdict.REJECTED, False)
EXPECTED = {
    "cookies": DELIVERED,
    "undecodable": UNKNOWN,
    "undecodable refusal": BLOCKED,
    "bomb": UNKNOWN,
    "flood": UNKNOWN,
    "flood of a fault": UNKNOWN,
    "body that drips": UNKNOWN,
    "head that drips": UNKNOWN,
    "headers without end": UNKNOWN,
    "interim answers without end": UNKNOWN,
    "interim answer": DELIVERED,
    "huge head": UNKNOWN,
    "cut short": UNKNOWN,
    "cut refusal": BLOCKED,
    "too long": DELIVERED,
    "redirect": BLOCKED,
    "redirect elsewhere": BLOCKED,
    "reset in the head": UNKNOWN,
    "reset in the body": UNKNOWN,
    "nothing": UNKNOWN,
    "no HTTP": UNKNOWN,
    "impossible status": UNKNOWN,
    "odd length": DELIVERED,
    "unending Retry-After": AGAIN,
    "late Retry-After": AGAIN,
}


def sink(url):
    given = {
        "log-group": "/a",
        "endpoint-url": url,
        "access-key-id": "AKIA",
        "secret-access-key": "very-secret",
    }
    return CloudWatchSink(CloudWatchProperties.model_validate(given))


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_answer_has_its_verdict_in_bounded_time_and_memory(name, monkeypatch):
    monkeypatch.setattr("auditflow.sinks._aws.connection.ANSWER_SECONDS", 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with HostileServer(ANSWERS[name]) as server:
        destination = sink(server.url)
        await destination.open()
        began = time.monotonic()
        (outcome,) = await destination.deliver([b'{"eventType":"t"}'])
        took = time.monotonic() - began
        await destination.close()
    assert (outcome.verdict, outcome.ambiguous) == EXPECTED[name], outcome
    assert took < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


async def test_what_follows_an_answer_is_no_answer_to_the_next_request():
    with HostileServer(ANSWERS["too long"]) as server:
        destination = sink(server.url)
        await destination.open()
        found = [(await destination.deliver([b'{"eventType":"t"}']))[0].verdict for _ in range(5)]
        assert Verdict.DELIVERED in found
        assert set(found) <= {Verdict.DELIVERED, Verdict.RETRY}, "the server closes what it has answered on"
        server.answer = answer("400 Bad Request", b'{"__type":"InvalidParameterException"}')
        verdict = Verdict.RETRY
        while verdict is Verdict.RETRY:
            verdict = (await destination.deliver([b'{"eventType":"t"}']))[0].verdict
        assert verdict is Verdict.REJECTED
        await destination.close()


async def test_what_keeps_tls_from_being_spoken_is_said_and_blocks(cloud):
    destination = sink(cloud.url.replace("http://", "https://"))  # where plain HTTP is spoken
    await destination.open()
    (outcome,) = await destination.deliver([b'{"eventType":"t"}'])
    await destination.close()
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.BLOCKED, "NoTls", False)
