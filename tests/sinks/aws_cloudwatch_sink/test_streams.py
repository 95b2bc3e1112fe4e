"""Log groups and streams are made with their settings, and in the order that keeps the first event safe."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink import streams as _cloudwatch_streams
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

GROUP = "/aws/auditflow/settings"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SETTINGS = {
    "retention-in-days": "90",
    "kms-key-id": KEY,
    "tags": {"team": "audit", "cost": 7},
    "log-group-class": "INFREQUENT_ACCESS",
}


@asynccontextmanager
async def opened(cloud, **more):
    given = {
        "log-group": GROUP,
        "endpoint-url": cloud.url,
        "access-key-id": "AKIAEXAMPLE",
        "secret-access-key": "secret",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    sink = CloudWatchSink(CloudWatchProperties.model_validate(given))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


def operations(cloud):
    return [(r.operation, r.outcome) for r in cloud.requests]


def described(cloud, name=GROUP):
    group = cloud._service.region("123456789012", "us-east-1").group(name)
    return group.retention, group.kms_key, dict(group.tags), group.log_class


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(_cloudwatch_streams, "INTERVAL", 0.0)


async def test_a_group_has_key_tags_and_class_from_the_start_and_its_retention_before_the_first_event(cloud):
    async with opened(cloud, **SETTINGS) as sink:
        (outcome,) = await sink.deliver([b"{}"])
    assert outcome.verdict is Verdict.DELIVERED
    assert [name for name, _ in operations(cloud)] == [
        "PutLogEvents", "CreateLogGroup", "PutRetentionPolicy", "CreateLogStream", "PutLogEvents",
    ]  # fmt: skip
    assert described(cloud) == (90, KEY, {"team": "audit", "cost": "7"}, "INFREQUENT_ACCESS")


async def test_a_group_that_exists_keeps_its_settings(cloud):
    async with opened(cloud) as sink:
        await sink.deliver([b"{}"])
    async with opened(cloud, log_stream="another", **SETTINGS) as sink:
        await sink.deliver([b"{}"])
    assert described(cloud) == (None, "", {}, "STANDARD")
    assert cloud.count("PutRetentionPolicy") == 0


async def test_a_group_deleted_at_run_time_is_made_again_with_its_settings(cloud, impatient):
    async with opened(cloud, **SETTINGS) as sink:
        await sink.deliver([b"{}"])
        sink._client.session.client().delete_log_group(logGroupName=GROUP)
        (outcome,) = await sink.deliver([b"{}"])
    assert outcome.verdict is Verdict.DELIVERED
    assert described(cloud)[0] == 90


async def test_no_event_is_sent_while_the_retention_cannot_be_set(cloud, impatient):
    denied = cloud.fault("deny", operation="PutRetentionPolicy")
    async with opened(cloud, log_stream="{{ tenantId }}", **SETTINGS) as sink:
        for tenants in ("ab", "ac", "ad"):
            outcomes = await sink.deliver([json.dumps({"tenantId": tenant}).encode() for tenant in tenants])
            assert {(o.verdict, o.code) for o in outcomes} == {(Verdict.BLOCKED, "AccessDeniedException")}
        assert "logs:PutRetentionPolicy" in outcomes[0].hint
        assert cloud.events(GROUP) == []
        assert cloud.count("CreateLogStream") == 0
        cloud.clear_faults()
        assert denied.hits >= 3
        (outcome,) = await sink.deliver([b'{"tenantId":"a"}'])
    assert outcome.verdict is Verdict.DELIVERED
    assert described(cloud)[0] == 90
    assert cloud.count("CreateLogGroup") == 1


async def test_a_group_deleted_while_its_retention_is_missing_is_made_again(cloud, impatient):
    cloud.fault("throttle", operation="PutRetentionPolicy", times=1)
    async with opened(cloud, **SETTINGS) as sink:
        (outcome,) = await sink.deliver([b"{}"])
        assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "ThrottlingException")
        sink._client.session.client().delete_log_group(logGroupName=GROUP)
        assert (await sink.deliver([b"{}"]))[0].verdict is Verdict.RETRY
        assert (await sink.deliver([b"{}"]))[0].verdict is Verdict.DELIVERED
    assert described(cloud)[0] == 90


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "kms-disabled"}, "kms-key-id"),
        ({"kind": "kms-denied"}, "kms-key-id"),
        ({"kind": "deny"}, "logs:CreateLogGroup"),
        ({"kind": "error", "code": "InvalidParameterException", "message": "1 validation error: tags", "status": 400}, "tags"),
    ],
)  # fmt: skip
async def test_settings_the_service_refuses_block_and_reject_nothing(cloud, fault, words):
    cloud.fault(operation="CreateLogGroup", **fault)
    async with opened(cloud, **SETTINGS) as sink:
        outcomes = await sink.deliver([b"{}"] * 4)
    assert {o.verdict for o in outcomes} == {Verdict.BLOCKED}
    assert words in outcomes[0].hint
    assert cloud.count("PutLogEvents") == 1


async def test_tags_need_their_permission_and_the_hint_says_so():
    with StrictCloudWatch() as cloud:
        allowed = [
            "logs:PutLogEvents",
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:PutRetentionPolicy",
        ]
        policy = {"Statement": {"Effect": "Allow", "Action": allowed, "Resource": "*"}}
        cloud.add_identity("AKIAEXAMPLE", "secret", account="123456789012", policies=[policy])
        async with opened(cloud, **SETTINGS) as sink:
            (outcome,) = await sink.deliver([b"{}"])
        assert outcome.verdict is Verdict.BLOCKED
        assert "logs:TagResource" in outcome.hint


async def test_many_new_streams_of_a_new_group_make_the_group_once(cloud):
    events = [json.dumps({"tenantId": f"t{n % 60}", "n": n}).encode() for n in range(300)]
    async with opened(cloud, log_stream="{{ tenantId }}", max_in_flight=8, **SETTINGS) as sink:
        outcomes = await sink.deliver(events)
    assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
    assert (cloud.count("CreateLogGroup"), cloud.count("PutRetentionPolicy")) == (1, 1)
    assert cloud.count("CreateLogStream") == 60
    assert [json.loads(r.message)["n"] for r in cloud.events(GROUP, "t7")] == [7, 67, 127, 187, 247]


async def test_the_state_of_streams_is_bounded(cloud, monkeypatch):
    monkeypatch.setattr(_cloudwatch_streams, "KEPT", 10)
    async with opened(cloud, log_stream="{{ n }}") as sink:
        outcomes = await sink.deliver([b'{"n":%d}' % n for n in range(40)])
        again = await sink.deliver([b'{"n":%d}' % n for n in range(40)])
        assert sink._putter._streams.stream.cache_info().currsize == 10
    assert {o.verdict for o in [*outcomes, *again]} == {Verdict.DELIVERED}
    assert cloud.count("CreateLogStream") == 40


async def test_requests_that_overlap_wait_for_one_creation(cloud):
    async with opened(cloud, **SETTINGS) as sink:
        answers = await asyncio.gather(*(sink.deliver([b"{}"]) for _ in range(12)))
    assert {o.verdict for answer in answers for o in answer} == {Verdict.DELIVERED}
    assert (cloud.count("CreateLogGroup"), cloud.count("CreateLogStream")) == (1, 1)


async def test_a_group_that_somebody_makes_at_the_same_moment_keeps_its_settings(cloud):
    cloud.fault(
        "error", operation="CreateLogGroup", code="ResourceAlreadyExistsException", status=400, times=1
    )
    async with opened(cloud, retention_in_days=90) as sink:
        await sink.deliver([b"{}"])
    assert "PutRetentionPolicy" not in [name for name, _ in operations(cloud)]
