import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from auditflow.errors import SinkBlocked
from auditflow.event.parts import join_parts
from auditflow.sinks._base import BatchLimits, Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch
from auditflow.testing.contracts.sink import SinkContract

GROUP = "/aws/auditflow/test"
DAY = 24 * 3600 * 1000


def given(cloud, **more):
    return {
        "log-group": GROUP,
        "endpoint-url": cloud.url,
        "access-key-id": "AKIAEXAMPLE",
        "secret-access-key": "very-secret",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


@asynccontextmanager
async def opened(cloud, **more):
    sink = CloudWatchSink(CloudWatchProperties.model_validate(given(cloud, **more)))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def deliver(cloud, events, **more):
    async with opened(cloud, **more) as sink:
        return await sink.deliver(events)


def audit(count, size=0, **fields):
    return [
        json.dumps({"eventType": "t", "n": n, **fields, "pad": "x" * size}).encode() for n in range(count)
    ]


def ago(days):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86400))


def operations(cloud):
    return [request.operation for request in cloud.requests]


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class TestContract(SinkContract):
    sink = CloudWatchSink

    @pytest.fixture
    def properties(self, cloud):
        return given(cloud, session_token="token-secret")

    @pytest.fixture
    def arrived(self, cloud):
        return lambda: [json.loads(record.message) for record in cloud.events(GROUP)]

    @pytest.fixture
    def unreachable(self, cloud, closed_port):
        return given(cloud, endpoint_url=f"http://127.0.0.1:{closed_port}")


# Names are put to first, and made when they are missing


async def test_nothing_is_described_and_a_missing_group_is_made_once(cloud):
    async with opened(cloud, max_batch_events=10) as sink:
        outcomes = await sink.deliver(audit(40))
        await sink.deliver(audit(1))
    assert set(verdicts(outcomes)) == {Verdict.DELIVERED}
    assert operations(cloud)[0] == "PutLogEvents"
    assert {name: cloud.count(name) for name in set(operations(cloud))} == {
        "PutLogEvents": cloud.count("PutLogEvents"),
        "CreateLogGroup": 1,
        "CreateLogStream": 1,
    }
    assert len(cloud.events(GROUP, "auditflow")) == 41


async def test_a_delivered_event_says_where_it_is(cloud):
    (outcome,) = await deliver(cloud, audit(1), region="eu-west-1", log_stream="s")
    assert outcome.where == {
        "destination": f"cloudwatch:eu-west-1:{GROUP}:s",
        "log_group": GROUP,
        "log_stream": "s",
        "region": "eu-west-1",
    }
    assert len(cloud.events(GROUP, "s", region="eu-west-1")) == 1


async def test_only_the_stream_is_made_when_only_it_is_missing(cloud):
    await deliver(cloud, audit(1), log_stream="first")
    cloud.fault("deny", operation="CreateLogGroup")
    assert verdicts(await deliver(cloud, audit(1), log_stream="second")) == [Verdict.DELIVERED]


async def test_a_stream_is_made_although_groups_are_not(cloud):
    await deliver(cloud, audit(1), log_stream="first")
    outcomes = await deliver(cloud, audit(1), log_stream="second", create_log_group="false")
    assert verdicts(outcomes) == [Verdict.DELIVERED]
    assert cloud.count("CreateLogGroup") == 1


async def test_creation_is_not_repeated_within_a_second(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(audit(1))
        sink._client.session.client().delete_log_group(logGroupName=GROUP)
        (outcome,) = await sink.deliver(audit(1))
    assert outcome.verdict is Verdict.RETRY
    assert 0 < outcome.retry_after <= 1
    assert cloud.count("CreateLogGroup") == 1


async def test_requests_that_wait_for_a_failed_creation_do_not_repeat_it(cloud):
    cloud.fault("deny", operation="CreateLogGroup")
    outcomes = await deliver(cloud, audit(40), max_batch_events=10)
    assert {(o.verdict, o.code) for o in outcomes} == {(Verdict.BLOCKED, "AccessDeniedException")}
    assert "logs:CreateLogGroup" in outcomes[0].hint
    assert cloud.count("CreateLogGroup") == 1


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("missing", ["log group", "log stream"])
async def test_what_somebody_else_has_just_made_or_removed_is_no_obstacle(cloud, missing, exists):
    if exists:
        await deliver(cloud, audit(1))
    message = f"The specified {missing} does not exist."
    cloud.fault(
        "error",
        operation="PutLogEvents",
        times=1,
        code="ResourceNotFoundException",
        status=400,
        message=message,
    )
    assert verdicts(await deliver(cloud, audit(1))) == [Verdict.DELIVERED]


async def test_a_missing_group_with_creation_off_says_both_fixes(cloud):
    (outcome,) = await deliver(cloud, audit(1), create_log_group="false", region="eu-west-1")
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "ResourceNotFoundException")
    assert 'create-log-group: "true"' in outcome.hint
    assert f"aws logs create-log-group --log-group-name {GROUP} --region eu-west-1" in outcome.hint
    assert set(operations(cloud)) == {"PutLogEvents"}


async def test_a_missing_stream_with_creation_off_says_both_fixes(cloud):
    await deliver(cloud, audit(1))
    (outcome,) = await deliver(cloud, audit(1), log_stream="a b", create_log_stream=False)
    assert outcome.verdict is Verdict.BLOCKED
    assert 'create-log-stream: "true"' in outcome.hint
    assert (
        f"create-log-stream --log-group-name {GROUP} --log-stream-name 'a b' --region us-east-1"
        in outcome.hint
    )


async def test_a_group_made_without_its_stream_is_blocked_at_the_stream(cloud):
    (outcome,) = await deliver(cloud, audit(1), create_log_stream="false")
    assert outcome.verdict is Verdict.BLOCKED
    assert "create-log-stream" in outcome.hint


# Packing and times


async def test_a_large_batch_is_divided_within_the_limits_of_the_service(cloud):
    outcomes = await deliver(cloud, audit(12_000) + audit(20, size=200_000))
    assert set(verdicts(outcomes)) == {Verdict.DELIVERED}
    assert len(cloud.events(GROUP)) == 12_020


async def test_events_of_several_days_are_sorted_and_divided(cloud):
    events = [json.dumps({"eventTime": ago(days), "n": days}).encode() for days in (3, 0, 7, 3.5, 13)]
    assert set(verdicts(await deliver(cloud, events))) == {Verdict.DELIVERED}
    assert [json.loads(record.message)["n"] for record in cloud.events(GROUP)] == [13, 7, 3.5, 3, 0]


async def test_an_event_that_is_too_old_arrives_now_with_its_own_time_in_the_message(cloud):
    events = [
        json.dumps({"eventTime": when}).encode()
        for when in ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", ago(-1))
    ]
    await deliver(cloud, events)
    records = cloud.events(GROUP)
    assert sorted(record.message.encode() for record in records) == sorted(events)
    assert all(abs(record.timestamp - time.time() * 1000) < 60_000 for record in records)
    assert cloud.count("PutLogEvents") == 2  # the first found no group: nothing was refused for its time


async def test_an_event_larger_than_the_service_takes_is_rejected_alone(cloud):
    largest = b'"' + b"x" * (1_048_550 - 2) + b'"'
    outcomes = await deliver(cloud, [b"{}", largest, largest + b" ", b"{}"], oversize="dead-letter")
    assert [o.code for o in outcomes] == ["", "", "EVENT_TOO_LARGE", ""]
    assert outcomes[2].verdict is Verdict.REJECTED
    assert len(cloud.events(GROUP)) == 3


async def test_an_event_larger_than_the_service_takes_arrives_in_parts(cloud):
    large = json.dumps({"eventId": "e-1", "text": '日本 "x" ' * 300_000}, ensure_ascii=False).encode()
    outcomes = await deliver(cloud, [b"{}", large, b"{}"])
    assert verdicts(outcomes) == [Verdict.DELIVERED] * 3
    messages = [record.message for record in cloud.events(GROUP)]
    parts = [message for message in messages if message != "{}"]
    assert len(parts) == 5
    assert [json.loads(part)["part"] for part in parts] == [1, 2, 3, 4, 5]
    assert join_parts(parts) == large


async def test_an_event_of_which_a_part_failed_goes_again_as_a_possible_duplicate(cloud):
    await deliver(cloud, audit(1))
    cloud.fault("throttle", operation="PutLogEvents", times=1)
    large = json.dumps({"text": "x" * 3_000_000}).encode()
    async with opened(cloud) as sink:
        (outcome,) = await sink.deliver([large])
        assert (outcome.verdict, outcome.ambiguous) == (
            Verdict.RETRY,
            False,
        )  # nothing after the first was put
        assert len(cloud.events(GROUP)) == 1
        assert verdicts(await sink.deliver([large])) == [Verdict.DELIVERED]
    assert join_parts(record.message for record in cloud.events(GROUP)[1:]) == large


async def test_limits_ask_for_what_fills_one_request(cloud):
    sink = CloudWatchSink(
        CloudWatchProperties.model_validate(given(cloud, flush_interval="250ms", max_batch_events=5))
    )
    assert sink.limits == BatchLimits(events=5, bytes=1_048_576, overhead=26, linger=0.25)


async def test_limits_ask_for_several_requests_when_events_go_to_several_streams(cloud):
    sink = CloudWatchSink(CloudWatchProperties.model_validate(given(cloud, log_stream="{{ a }}")))
    assert (sink.limits.events, sink.limits.bytes) == (160_000, 16 * 1_048_576)


# Names from events


async def test_events_go_where_their_fields_say_each_stream_in_its_own_requests(cloud):
    events = [
        json.dumps({"tenantId": t, "sourceSystem": s, "n": n}).encode()
        for n, (t, s) in enumerate([("a", "x"), ("b", "x"), ("a", "y"), ("a", "x"), (None, "x")])
    ]
    outcomes = await deliver(
        cloud, events, log_group="/t/{{ tenantId:-none }}", log_stream="{{ sourceSystem }}"
    )
    assert verdicts(outcomes) == [Verdict.DELIVERED] * 5
    found = {
        (g, s): [json.loads(r.message)["n"] for r in cloud.events(g, s)]
        for g, s in [("/t/a", "x"), ("/t/a", "y"), ("/t/b", "x"), ("/t/none", "x")]
    }
    assert found == {("/t/a", "x"): [0, 3], ("/t/a", "y"): [2], ("/t/b", "x"): [1], ("/t/none", "x"): [4]}
    assert outcomes[3].where["log_group"] == "/t/a"


async def test_problem_in_one_group_is_not_problem_in_another(cloud):
    cloud.fault("deny", group="/t/b")
    events = [json.dumps({"tenantId": t}).encode() for t in "abab"]
    outcomes = await deliver(cloud, events, log_group="/t/{{ tenantId }}")
    assert verdicts(outcomes) == [Verdict.DELIVERED, Verdict.BLOCKED] * 2
    assert "log-group:/t/b:" in outcomes[1].hint


async def test_times_the_service_refuses_are_rejected_where_they_are_not_to_be_changed(away):
    away.clock_of_service.days = 5
    events = [json.dumps({"eventTime": ago(days), "n": n}).encode() for n, days in enumerate((10, 0, 10, 20))]
    outcomes = await deliver(away, events, out_of_window="dead-letter")
    assert [o.code for o in outcomes] == ["TOO_OLD", "", "TOO_OLD", "TOO_OLD"]
    assert all("out-of-window" in o.hint for o in outcomes if o.code)
    assert [json.loads(record.message)["n"] for record in away.events(GROUP)] == [1]


# Rejections


class Clock:
    """The service's clock, days away from ours."""

    def __init__(self):
        self.days = 0.0

    def __call__(self):
        return time.time() + self.days * 86400


@pytest.fixture
def away():
    clock = Clock()
    with StrictCloudWatch(clock=clock) as cloud:
        cloud.clock_of_service = clock
        yield cloud


async def test_events_refused_for_their_time_go_again_at_now(away):
    away.clock_of_service.days = 5  # what is 10 days old here is 15 days old there
    events = [json.dumps({"eventTime": ago(days), "n": n}).encode() for n, days in enumerate((10, 0, 10, 10))]
    outcomes = await deliver(away, events)
    assert verdicts(outcomes) == [Verdict.DELIVERED] * 4
    assert sorted(json.loads(record.message)["n"] for record in away.events(GROUP)) == [0, 1, 2, 3]


@pytest.mark.parametrize(("days", "code"), [(20, "TOO_OLD"), (-1, "TOO_NEW")])
async def test_events_refused_at_now_too_are_rejected_with_the_reason(away, days, code):
    await deliver(away, audit(1))
    away.clock_of_service.days = days
    outcomes = await deliver(away, audit(3))
    assert {(o.verdict, o.code) for o in outcomes} == {(Verdict.REJECTED, code)}
    assert away.count("PutLogEvents") == 2 + 2


async def test_events_beyond_the_retention_go_again_at_now(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(audit(1))
        sink._client.session.client().put_retention_policy(logGroupName=GROUP, retentionInDays=1)
        outcomes = await sink.deliver([json.dumps({"eventTime": ago(3)}).encode(), *audit(1)])
    assert verdicts(outcomes) == [Verdict.DELIVERED] * 2
    assert len(cloud.events(GROUP)) == 3


# Faults


async def test_one_guilty_event_is_found_and_the_others_are_delivered(cloud):
    events = audit(50)
    events[17] = b""  # the service takes no empty message, and refuses the whole request for it
    outcomes = await deliver(cloud, events)
    assert [at for at, o in enumerate(outcomes) if o.verdict is Verdict.REJECTED] == [17]
    assert outcomes[17].code == "InvalidParameterException"
    assert len(cloud.events(GROUP)) == 49


async def test_one_request_that_fails_does_not_touch_the_others(cloud):
    await deliver(cloud, audit(1))
    cloud.fault("throttle", operation="PutLogEvents", times=1, retry_after=3)
    outcomes = await deliver(cloud, audit(40), max_batch_events=10)
    throttled = [o for o in outcomes if o.verdict is Verdict.RETRY]
    assert {(len(throttled), o.code, o.retry_after) for o in throttled} == {(10, "ThrottlingException", 3.0)}
    assert verdicts(outcomes).count(Verdict.DELIVERED) == 30


async def test_a_stale_sequence_token_is_put_again_but_not_forever(cloud):
    await deliver(cloud, audit(1))
    cloud.fault("invalid-sequence-token", times=1)
    assert verdicts(await deliver(cloud, audit(1))) == [Verdict.DELIVERED]
    cloud.fault("invalid-sequence-token")
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "InvalidSequenceTokenException")


async def test_what_the_service_has_already_is_delivered(cloud):
    cloud.fault("already-accepted")
    assert verdicts(await deliver(cloud, audit(1))) == [Verdict.DELIVERED]


@pytest.mark.parametrize("kind", ["reset", "reset-after", "garbage", "cut", "internal"])
async def test_a_request_without_a_proper_answer_may_have_been_taken(cloud, kind):
    await deliver(cloud, audit(1))
    cloud.fault(kind, operation="PutLogEvents", times=1)
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.ambiguous) == (Verdict.RETRY, True)


@pytest.mark.parametrize(
    ("status", "verdict", "ambiguous"),
    [
        (500, Verdict.RETRY, True), (502, Verdict.RETRY, True), (504, Verdict.RETRY, True),
        (408, Verdict.RETRY, True), (503, Verdict.RETRY, False), (429, Verdict.RETRY, False),
        (403, Verdict.BLOCKED, False), (404, Verdict.BLOCKED, False), (405, Verdict.BLOCKED, False),
        (407, Verdict.BLOCKED, False),
    ],
)  # fmt: skip
async def test_an_error_page_of_a_gateway_is_judged_by_its_status(cloud, status, verdict, ambiguous):
    cloud.fault("garbage", status=status)
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (verdict, str(status), ambiguous)


async def test_a_request_that_was_taken_is_delivered_whatever_the_answer_says_of_its_encoding(cloud):
    cloud.fault("undecodable")
    assert verdicts(await deliver(cloud, audit(1))) == [Verdict.DELIVERED]


async def test_a_redirect_is_not_followed_but_named(cloud):
    cloud.fault("redirect")
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.BLOCKED, "307", False)
    assert "endpoint-url" in outcome.hint


async def test_of_a_flood_no_more_is_read_than_an_answer_may_hold(cloud):
    cloud.fault("flood")
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "503")


async def test_a_service_that_hangs_is_given_up_and_may_have_taken_the_request(cloud, monkeypatch):
    monkeypatch.setattr("auditflow.sinks._aws.connection.ANSWER_SECONDS", 0.2)
    cloud.fault("hang", seconds=3)
    (outcome,) = await deliver(cloud, audit(1))
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.RETRY, "ReadTimeoutError", True)


async def test_a_host_that_does_not_exist_is_blocked(cloud):
    (outcome,) = await deliver(cloud, audit(1), endpoint_url="http://no-such-host.invalid:1")
    assert outcome.verdict is Verdict.BLOCKED
    assert "endpoint-url" in outcome.hint


async def test_a_certificate_that_is_not_trusted_is_blocked(tls_cloud):
    (outcome,) = await deliver(tls_cloud, audit(1))
    assert outcome.verdict is Verdict.BLOCKED
    assert "AWS_CA_BUNDLE" in outcome.hint


async def test_bodies_of_requests_at_the_same_time_are_not_mixed_up(cloud):
    async with opened(cloud, max_in_flight=8) as sink:
        batches = [audit(3, batch=batch) for batch in range(40)]
        await asyncio.gather(*(sink.deliver(batch) for batch in batches))
    sent = sorted(event for batch in batches for event in batch)
    assert sorted(record.message.encode() for record in cloud.events(GROUP)) == sent


# Properties


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"log-group": ""}, "log-group"),
        ({"log-group": "a b"}, "log-group"),
        ({"log-group": "aws/x"}, "reserved"),
        ({"log-group": "x" * 513}, "log-group"),
        ({"log-group": "{{ tenantId }}"}, "log-group"),
        ({"log-stream": "{{tenantId"}, "log-stream"),
        ({"log-stream": "a:b"}, "log-stream"),
        ({"log-stream": "a*"}, "log-stream"),
        ({"max-batch-events": "10001"}, "max-batch-events"),
        ({"max-batch-bytes": "2MiB"}, "max-batch-bytes"),
        ({"max-in-flight": 0}, "max-in-flight"),
        ({"create-log-group": "maybe"}, "create-log-group"),
        ({"endpoint-url": "localhost:4566"}, "endpoint-url"),
    ],
)
def test_a_wrong_property_is_refused_by_name(cloud, wrong, words):
    with pytest.raises(ValidationError, match=words):
        CloudWatchProperties.model_validate({**given(cloud), **wrong})


def test_the_defaults_are_those_of_the_guide():
    ours = CloudWatchProperties.model_validate({"log-group": "/aws/x"})
    assert (ours.log_stream, ours.create_log_group, ours.create_log_stream) == ("auditflow", True, True)
    assert (ours.max_batch_events, ours.max_batch_bytes, ours.max_in_flight) == (10_000, 1_048_576, 4)


# Probe


async def test_a_probe_asks_the_service_nothing(cloud):
    async with opened(cloud) as sink:
        await sink.probe()
    assert operations(cloud) == []


async def test_a_probe_without_credentials_says_what_to_give(cloud):
    async with opened(cloud, access_key_id="", secret_access_key="") as sink:
        with pytest.raises(SinkBlocked) as caught:
            await sink.probe()
    assert "NoCredentialsError" in str(caught.value)
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
