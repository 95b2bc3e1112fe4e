import asyncio
import hashlib
import hmac
import json
import socket
import threading
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from auditflow.sinks._base import Verdict
from auditflow.sinks.webhook_sink import TRIALS, WebhookProperties, WebhookSink
from auditflow.testing.contracts.sink import SinkContract


@asynccontextmanager
async def opened(receiver, **more):
    given = {"webhook-url": receiver.url, **{name.replace("_", "-"): value for name, value in more.items()}}
    sink = WebhookSink(WebhookProperties.model_validate(given))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def deliver(receiver, events, **more):
    async with opened(receiver, **more) as sink:
        return await sink.deliver(events)


def numbered(count):
    return [b'{"n":%d}' % n for n in range(count)]


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


class TestContract(SinkContract):
    sink = WebhookSink

    @pytest.fixture
    def properties(self, receiver):
        return {"webhook-url": receiver.url, "secret": "hmac-secret"}

    @pytest.fixture
    def arrived(self, receiver):
        return lambda: [json.loads(body) for body in receiver.bodies]

    @pytest.fixture
    def unreachable(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return {"webhook-url": f"http://127.0.0.1:{listener.getsockname()[1]}/?token=url-secret"}


async def test_each_event_is_the_body_of_a_request_of_its_own(receiver):
    events = numbered(10)
    outcomes = await deliver(receiver, events)
    assert verdicts(outcomes) == [Verdict.DELIVERED] * 10
    assert sorted(receiver.bodies) == sorted(events)
    method, headers, _ = receiver.requests[0]
    assert (method, headers["Content-Type"]) == ("POST", "application/json")
    assert headers["User-Agent"].startswith("auditflow/")
    assert "X-Hub-Signature-256" not in headers


async def test_the_signature_is_that_of_the_very_bytes(receiver):
    await deliver(receiver, [b'{"a": "\xc3\xbc"}'], secret="key", signature_header="X-Signature")
    _, headers, body = receiver.requests[0]
    assert headers["X-Signature"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer header-secret"}, '{"Authorization": "Bearer header-secret"}']
)
async def test_headers_come_as_a_mapping_or_as_json_text_and_stay_secret(receiver, headers):
    async with opened(receiver, headers=headers, method="get", content_type="text/plain") as sink:
        await sink.deliver([b"{}"])
        assert "header-secret" not in repr(sink.properties)
    method, sent, body = receiver.requests[0]
    assert (method, sent["Authorization"], sent["Content-Type"], body) == (
        "GET",
        "Bearer header-secret",
        "text/plain",
        b"{}",
    )


async def test_outcomes_are_in_the_order_of_the_events(receiver):
    receiver.answer = lambda body: ((200, 422, 500)[json.loads(body)["n"] % 3], {})
    outcomes = await deliver(receiver, numbered(30))
    assert verdicts(outcomes) == [Verdict.DELIVERED, Verdict.REJECTED, Verdict.RETRY] * 10
    assert [outcome.code for outcome in outcomes[1:3]] == ["HTTP_422", "HTTP_500"]


async def test_requests_run_at_the_same_time_but_no_more_than_allowed(receiver):
    together = threading.Barrier(3)

    def answer(body):
        together.wait(timeout=5)
        return 200, {}

    receiver.answer = answer
    async with opened(receiver, max_in_flight=3) as sink:
        await asyncio.gather(sink.deliver(numbered(6)), sink.deliver(numbered(6)))
    assert receiver.most_at_once == 3


@pytest.mark.parametrize(
    ("status", "verdict"), [(404, Verdict.BLOCKED), (302, Verdict.BLOCKED), (503, Verdict.RETRY)]
)
async def test_a_destination_in_problem_is_not_asked_for_every_event(receiver, status, verdict):
    receiver.answer = lambda body: (status, {"Retry-After": "9", "Location": "http://elsewhere.example/"})
    outcomes = await deliver(receiver, numbered(50), max_in_flight=2)
    assert verdicts(outcomes) == [verdict] * 50
    assert len(receiver.requests) <= TRIALS + 2
    assert outcomes[-1].retry_after == (9 if verdict is Verdict.RETRY else 0)


async def test_a_connection_cut_after_sending_may_have_delivered_that_event_only(receiver):
    receiver.answer = lambda body: (0, {})
    outcomes = await deliver(receiver, numbered(20), max_in_flight=1)
    assert verdicts(outcomes) == [Verdict.RETRY] * 20
    assert [outcome.ambiguous for outcome in outcomes] == [True] * TRIALS + [False] * (20 - TRIALS)


async def test_an_answer_that_does_not_come_is_given_up(receiver):
    silent = threading.Event()
    receiver.answer = lambda body: (200 if silent.wait(5) else 500, {})
    (outcome,) = await deliver(receiver, [b"{}"], timeout="100ms")
    silent.set()
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.RETRY, "Timeout", True)


async def test_retry_count_repeats_a_failed_request_within_the_delivery(receiver, monkeypatch):
    monkeypatch.setattr("auditflow.sinks.webhook_sink.RETRY_PAUSE", 0.001)
    receiver.answer = lambda body: (200 if len(receiver.requests) == 3 else 503, {})
    assert verdicts(await deliver(receiver, [b"{}"], retry_count="2")) == [Verdict.DELIVERED]
    receiver.requests.clear()
    assert verdicts(await deliver(receiver, [b"{}"])) == [Verdict.RETRY]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("answer", [(0, {}), (503, {"Retry-After": "60"})])
async def test_retry_count_repeats_nothing_that_may_have_arrived_or_has_to_wait(receiver, answer):
    receiver.answer = lambda body: answer
    assert verdicts(await deliver(receiver, [b"{}"], retry_count=2)) == [Verdict.RETRY]
    assert len(receiver.requests) == 1


async def test_a_host_that_does_not_exist_is_blocked(receiver):
    (outcome,) = await deliver(receiver, [b"{}"], webhook_url="http://no-such-host.invalid/?token=url-secret")
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.hint


async def test_a_certificate_is_checked_unless_told_otherwise(tls_cloud):  # any server with TLS will do
    (outcome,) = await deliver(tls_cloud, [b"{}"])
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "UntrustedCertificate")
    (outcome,) = await deliver(tls_cloud, [b"{}"], verify_ssl="false")
    assert outcome.code.startswith("HTTP_")


def test_the_destination_holds_no_part_of_the_url_that_may_be_secret(receiver):
    sink = WebhookSink(
        WebhookProperties.model_validate({"webhook-url": "https://u:p@example.com:1/token?key=k"})
    )
    assert sink.destination == "webhook:https://example.com:1"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"webhook-url": "example.com"}, "webhook-url"),
        ({"method": "DELETE"}, "method"),
        ({"headers": "{broken"}, "headers"),
        ({"headers": {"bad name": "x"}}, "headers"),
        ({"headers": {"Content-Length": "1"}}, "set by the connection"),
        ({"headers": {"X": "a\nb: c"}}, "headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "stands twice"),
        (
            {"webhook-url": "http://me:url-secret@a.example/", "headers": {"Authorization": "x"}},
            "only one of them",
        ),
        ({"webhook-url": "http://a..example/url-secret"}, "webhook-url"),
        ({"webhook-url": "http://a\x01b/url-secret"}, "webhook-url"),
        ({"webhook-url": "http://a*b/url-secret"}, "webhook-url"),
        ({"webhook-url": f"http://{'a' * 64}.example/url-secret"}, "webhook-url"),
        ({"timeout": "0s"}, "timeout"),
        ({"retry-count": -1}, "retry-count"),
        ({"signature-header": "a b"}, "signature-header"),
    ],
)
def test_a_wrong_property_is_refused_by_name_and_not_repeated(wrong, words):
    with pytest.raises(ValidationError, match=words) as caught:
        WebhookProperties.model_validate({"webhook-url": "http://a.example/url-secret", **wrong})
    assert "url-secret" not in str(caught.value)


async def test_redirects_are_not_followed(receiver):
    receiver.answer = lambda body: (307, {"Location": f"http://127.0.0.1:{receiver.server_port}/inside"})
    outcomes = await deliver(receiver, numbered(1))
    assert verdicts(outcomes) == [Verdict.BLOCKED]
    assert len(receiver.requests) == 1


async def test_a_content_type_among_the_headers_is_the_only_one(receiver):
    await deliver(receiver, [b"{}"], headers={"content-type": "text/plain"})
    [(_, headers, _)] = receiver.requests
    assert [value for name, value in headers.items() if name.lower() == "content-type"] == ["text/plain"]
