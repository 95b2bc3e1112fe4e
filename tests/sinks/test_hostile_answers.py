"""What HTTP sinks make of answers that keep to no rule: a verdict each, in bounded time and memory."""

import resource
import time

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.webhook_sink import WebhookProperties, WebhookSink
from auditflow.testing.hostile_server import ANSWERS, HostileServer, answer

DELIVERED, UNKNOWN, AGAIN = (Verdict.DELIVERED, False), (Verdict.RETRY, True), (Verdict.RETRY, False)
BLOCKED, REJECTED = (Verdict.BLOCKED, False), (Verdict.REJECTED, False)
EXPECTED = {
    "cookies": DELIVERED,
    "undecodable": DELIVERED,
    "undecodable refusal": REJECTED,
    "bomb": DELIVERED,
    "flood": DELIVERED,
    "flood of a fault": UNKNOWN,
    "body that drips": DELIVERED,
    "head that drips": UNKNOWN,
    "headers without end": UNKNOWN,
    "interim answers without end": UNKNOWN,
    "interim answer": DELIVERED,
    "huge head": UNKNOWN,
    "cut short": DELIVERED,
    "cut refusal": REJECTED,
    "too long": DELIVERED,
    "redirect": BLOCKED,
    "redirect elsewhere": BLOCKED,
    "reset in the head": UNKNOWN,
    "reset in the body": DELIVERED,
    "nothing": UNKNOWN,
    "no HTTP": UNKNOWN,
    "impossible status": UNKNOWN,
    "odd length": UNKNOWN,
    "unending Retry-After": AGAIN,
    "late Retry-After": AGAIN,
}


@pytest.fixture
def opened():
    """Give a function that makes a sink for a URL."""

    async def make(url, **more):
        given = {"webhook-url": url} | {n.replace("_", "-"): v for n, v in more.items()}
        sink = WebhookSink(WebhookProperties.model_validate(given))
        await sink.open()
        return sink

    return make


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_answer_has_its_verdict_in_bounded_time_and_memory(name, opened):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with HostileServer(ANSWERS[name]) as server:
        sink = await opened(server.url, timeout="5s" if EXPECTED[name] is DELIVERED else "1s")
        began = time.monotonic()
        (outcome,) = await sink.deliver([b"{}"])
        took = time.monotonic() - began
        await sink.close()
    assert (outcome.verdict, outcome.ambiguous) == EXPECTED[name], outcome
    assert outcome.retry_after <= 300
    assert took < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


async def test_no_cookie_comes_back(opened):
    with HostileServer(ANSWERS["cookies"]) as server:
        sink = await opened(server.url)
        await sink.deliver([b"{}"] * 20)
        await sink.close()
        assert len(server.requests) == 20
        assert not [request for request in server.requests if b"cookie" in request.lower()]
        assert all(b"accept-encoding: identity" in request.lower() for request in server.requests)


async def test_what_follows_an_answer_is_no_answer_to_the_next_request(opened):
    with HostileServer(ANSWERS["too long"]) as server:
        sink = await opened(server.url, max_in_flight=1)
        found = {(await sink.deliver([b"{}"]))[0].verdict for _ in range(5)}
        assert Verdict.DELIVERED in found
        assert found <= {Verdict.DELIVERED, Verdict.RETRY}, "the server closes what it has answered on"
        server.answer = answer("400 Bad Request", b"no")
        verdict = Verdict.RETRY
        while verdict is Verdict.RETRY:
            verdict = (await sink.deliver([b"{}"]))[0].verdict
        assert verdict is Verdict.REJECTED
        await sink.close()


async def test_an_answer_before_the_request_has_arrived_counts(opened):
    with HostileServer(answer("413 Too Large", b"no", "Connection: close"), early=True) as server:
        sink = await opened(server.url)
        (outcome,) = await sink.deliver([b"x" * 2**22])
        await sink.close()
    assert (outcome.verdict, outcome.code) in {
        (Verdict.REJECTED, "HTTP_413"),
        (Verdict.RETRY, "WriteError"),  # the connection was gone before the answer could be read
        (Verdict.RETRY, "ReadError"),
    }


async def test_of_eleven_events_one_with_an_impossible_redirect_is_the_only_one_held_up(receiver, opened):
    receiver.answer = lambda body: (307, {"Location": "http://[bad/x"}) if body == b"bad" else (200, {})
    sink = await opened(receiver.url)
    outcomes = await sink.deliver([b"bad", *[b"good"] * 10])
    await sink.close()
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] + [Verdict.DELIVERED] * 10
    assert [body for *_, body in receiver.requests].count(b"good") == 10


@pytest.mark.parametrize("status", [403, 502, 404, 503])
async def test_four_bad_events_hold_up_no_good_ones(receiver, opened, status):
    receiver.answer = lambda body: (status if body.startswith(b"bad") else 200, {})
    sink = await opened(receiver.url, max_in_flight=4)
    outcomes = await sink.deliver([b"bad"] * 4 + [b"good"] * 40)
    await sink.close()
    assert [o.verdict for o in outcomes] == [Verdict.RETRY] * 4 + [Verdict.DELIVERED] * 40


async def test_other_events_are_tried_first_the_next_time(receiver, opened):
    receiver.answer = lambda body: (403 if int(body) < 10 else 200, {})
    sink = await opened(receiver.url, max_in_flight=1)
    events = [str(number).encode() for number in range(40)]
    first = await sink.deliver(events)
    assert {o.verdict for o in first} == {Verdict.BLOCKED}
    second = await sink.deliver(events)
    assert [o.verdict for o in second].count(Verdict.DELIVERED) == 30
    await sink.close()
