"""The sink against every limit of the service at once, over random events."""

import asyncio
import json
import os
import random
import time
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditflow.event.parts import join_parts
from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink import times as _cloudwatch_times
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

GROUP = "/aws/auditflow/strict"
DAY = 86_400.0
SCRIPTS = (
    "portal login ok ",
    "日本語の監査",
    "🎉🧾",
    'quote " back \\ slash / ',
    "\x00\x01\n\t\x7f",
    "שלום \u2028",
    "\ud800x",
    "e\u0301",
)


def made(cloud, **more):
    return CloudWatchSink(
        CloudWatchProperties.model_validate(
            {
                "log-group": GROUP,
                "endpoint-url": cloud.url,
                "access-key-id": "AKIAEXAMPLE",
                "secret-access-key": "secret",
                **{name.replace("_", "-"): value for name, value in more.items()},
            }
        )
    )


def when(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03}Z"


def written(event):
    """Write as JSON; half a surrogate pair can only be an escape."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(event, separators=(",", ":")).encode()


def random_event(chance, number, now):
    script = chance.choice(SCRIPTS)
    size = (
        chance.choice((0, 10, 100, 300))
        if chance.random() < 0.999
        else chance.choice((9_000, 90_000, 400_000))
    )
    age = chance.choice(
        (0, chance.uniform(0, 3600), chance.uniform(0, 20 * DAY), chance.uniform(-3 * 3600, 0))
    )
    return written(
        {
            "eventId": f"e-{number}",
            "eventTime": when(now - age),
            "tenantId": f"t{chance.randrange(5)}",
            "sourceSystem": chance.choice(("portal", "日本", "a:b*c", "x/y#z", "")),
            "text": (script * (size // len(script) + 1))[:size],
        }
    )


def fewest(records):
    """Pack the stored events of one stream again, by other means, and count the requests."""
    count = size = first = 0
    for record in records:
        weight = len(record.message.encode("utf-8", "surrogatepass")) + 26
        if not count or size + weight > 1_048_576 or record.timestamp - first > 86_400_000:
            count, size, first = count + 1, 0, record.timestamp
        size += weight
    return count


MANY = 100_000 if os.environ.get("AUDITFLOW_LONG_TESTS") else 20_000
"""Events: what `make test-long` sends, and what there is time for in every run."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_many_random_events_arrive_with_no_refusal_and_no_description(cloud):
    chance = random.Random(20_261_123)
    sink = made(
        cloud,
        log_group=GROUP + "/{{ tenantId }}",
        log_stream="{{ sourceSystem:-none }}",
        retention_in_days=30,
    )
    await sink.open()
    sent = {}
    for start in range(0, MANY, 20_000):
        now = time.time()
        events = [random_event(chance, number, now) for number in range(start, start + 20_000)]
        outcomes = await sink.deliver(events)
        assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
        sent.update((f"e-{start + at}", event) for at, event in enumerate(events))
    await sink.close()
    answers = {r.outcome for r in cloud.requests}
    assert answers == {"ok", "ResourceNotFoundException"}
    assert {r.operation for r in cloud.requests} == {
        "PutLogEvents", "CreateLogGroup", "CreateLogStream", "PutRetentionPolicy",
    }  # fmt: skip
    stored = [record.message for n in range(5) for record in cloud.events(f"{GROUP}/t{n}")]
    parts = defaultdict(list)
    for message in stored:
        event = json.loads(message)
        parts[event["eventId"]].append(message)
    assert {
        key: join_parts(found)
        if "piece" in json.loads(found[0])
        else found[0].encode("utf-8", "surrogatepass")
        for key, found in parts.items()
    } == sent
    assert len(stored) == sum(map(len, parts.values()))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_requests_are_as_few_as_the_limits_allow_and_never_refused(seed, count):
    async def run():
        chance = random.Random(seed)
        with StrictCloudWatch() as cloud:
            sink = made(cloud, log_stream="{{ tenantId }}")
            await sink.open()
            events = [random_event(chance, number, time.time()) for number in range(count)]
            outcomes = await sink.deliver(events)
            await sink.close()
            assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
            taken = [r for r in cloud.requests if r.operation == "PutLogEvents" and r.outcome == "ok"]
            for n in range(5):
                assert sum(r.stream == f"t{n}" for r in taken) == fewest(cloud.events(GROUP, f"t{n}"))

    asyncio.run(run())


async def test_with_creation_off_one_permission_suffices():
    with StrictCloudWatch() as cloud:
        arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}:*"
        policy = {"Statement": {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": arn}}
        cloud.add_identity("AKIAADMIN", "secret", account="123456789012")
        cloud.add_identity("AKIAEXAMPLE", "secret", account="123456789012", policies=[policy])
        admin = made(cloud, access_key_id="AKIAADMIN")
        await admin.open()
        await admin.deliver([b"{}"])
        await admin.close()
        sink = made(cloud, create_log_group="false", create_log_stream="false")
        await sink.open()
        await sink.probe()
        events = [written({"n": n, "text": "x" * (2_000_000 if n == 7 else 10)}) for n in range(100)]
        outcomes = await sink.deliver(events)
        await sink.close()
        assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
        own = {r.operation for r in cloud.requests[3:]}
        assert own <= {"PutLogEvents", "CreateLogStream"}
        assert {r.outcome for r in cloud.requests if r.operation == "PutLogEvents"} <= {
            "ok",
            "ResourceNotFoundException",
        }


@pytest.mark.parametrize("policy", ["clamp", "dead-letter"])
@pytest.mark.parametrize(
    ("ages", "codes"),
    [
        ([15, 0], ["TOO_OLD", ""]),
        ([0, 15], ["", "TOO_OLD"]),
        ([15], ["TOO_OLD"]),
        ([15, 15, 0, 15], ["TOO_OLD", "TOO_OLD", "", "TOO_OLD"]),
        ([0, -0.2], ["", "TOO_NEW"]),
        ([-0.2, -0.2], ["TOO_NEW", "TOO_NEW"]),
        ([15, -0.2, 0], ["TOO_OLD", "TOO_NEW", ""]),
        ([5, 0], ["EXPIRED", ""]),
        ([15, 5, 0, -0.2], ["TOO_OLD", "EXPIRED", "", "TOO_NEW"]),
        ([0, 0, 0], ["", "", ""]),
    ],
)
async def test_the_indexes_of_the_service_lead_to_exactly_the_refused_events(
    cloud, monkeypatch, policy, ages, codes
):
    monkeypatch.setattr(_cloudwatch_times, "OLDEST", 400 * 86_400_000)  # so that only the service judges
    monkeypatch.setattr(_cloudwatch_times, "NEWEST", 400 * 86_400_000)
    sink = made(cloud, out_of_window=policy, retention_in_days=3)
    await sink.open()
    now = time.time()
    outcomes = await sink.deliver(
        [written({"eventTime": when(now - age * DAY), "n": n}) for n, age in enumerate(ages)]
    )
    await sink.close()
    arrived = {json.loads(r.message)["n"]: r.timestamp for r in cloud.events(GROUP)}
    if policy == "dead-letter":
        assert [o.code for o in outcomes] == codes
        assert sorted(arrived) == [n for n, code in enumerate(codes) if not code]
    else:
        assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
        assert all(abs(arrived[n] - now * 1000) < 60_000 for n in range(len(ages)))


async def test_the_edge_of_the_window_is_where_the_service_draws_it(cloud, monkeypatch):
    """One millisecond decides, on a clock that stands still on both sides."""
    monkeypatch.setattr(_cloudwatch_times, "MARGIN", 0)
    moment = 1_800_000_000.0
    monkeypatch.setattr(_cloudwatch_times, "now", lambda: int(moment * 1000))
    with StrictCloudWatch(clock=lambda: moment) as still:
        sink = made(still, out_of_window="dead-letter")
        await sink.open()
        edges = [-14 * DAY, -14 * DAY - 0.001, 2 * 3600, 2 * 3600 + 0.001]
        outcomes = await sink.deliver(
            [written({"eventTime": when(moment + edge), "n": n}) for n, edge in enumerate(edges)]
        )
        await sink.close()
        assert [o.code for o in outcomes] == ["", "TOO_OLD", "", "TOO_NEW"]
        assert sorted(json.loads(r.message)["n"] for r in still.events(GROUP)) == [0, 2]
        assert all(a <= b for a, b in pairwise(r.timestamp for r in still.events(GROUP)))
