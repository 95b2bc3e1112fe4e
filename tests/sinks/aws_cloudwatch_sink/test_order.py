"""With `ordering: ordered` nothing overtakes: not within a delivery, not between deliveries, not after a retry."""

import asyncio
import contextlib
import json
import random

import uuid_utils

from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger
from auditflow.pipelines.decide.decision import Decide
from auditflow.pipelines.deliver import destination as destination_module
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.pipelines.pipeline import Pipeline
from auditflow.pipelines.read.tail import TailReader
from auditflow.pipelines.record.outcomes import PipelineOutcomes
from auditflow.pipelines.record.recorder import Recorder
from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink

GROUP = "/aws/auditflow/order"


def made(cloud, **more):
    given = {
        "log-group": GROUP,
        "endpoint-url": cloud.url,
        "access-key-id": "AKIAEXAMPLE",
        "secret-access-key": "secret",
        "timestamp": "delivery",
        "ordering": "ordered",
        "max-batch-events": "10",
        "flush-interval": "10ms",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return CloudWatchSink(CloudWatchProperties.model_validate(given))


@contextlib.asynccontextmanager
async def opened(cloud, **more):
    sink = made(cloud, **more)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


def events(count, streams=1, start=0):
    return [json.dumps({"stream": f"s{n % streams}", "n": n}).encode() for n in range(start, start + count)]


def arrived(cloud, stream):
    """Give the numbers in the order in which they came."""
    records = sorted(cloud.events(GROUP, stream), key=lambda record: record.ordinal)
    return [json.loads(record.message)["n"] for record in records]


def puts(cloud):
    return [r for r in cloud.requests if r.operation == "PutLogEvents"]


async def test_requests_of_one_stream_go_one_after_the_other(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(events(1))
        outcomes = await sink.deliver(events(50))
    assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
    assert arrived(cloud, "auditflow") == [0, *range(50)]


async def test_what_follows_a_failed_request_is_not_put(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(events(1))
        cloud.fault("reset-after", operation="PutLogEvents", times=1)
        before = len(puts(cloud))
        outcomes = await sink.deliver(events(30))
        assert len(puts(cloud)) == before + 1
    assert {o.verdict for o in outcomes} == {Verdict.RETRY}
    assert [o.ambiguous for o in outcomes] == [True] * 10 + [False] * 20


async def test_other_streams_are_not_held_up(cloud):
    async with opened(cloud, log_stream="{{ stream }}") as sink:
        await sink.deliver(events(3, streams=3))
        cloud.fault("throttle", stream="s1")
        outcomes = await sink.deliver(events(60, streams=3))
    assert [o.verdict for o in outcomes] == [Verdict.DELIVERED, Verdict.RETRY, Verdict.DELIVERED] * 20


async def test_deliveries_of_several_pipelines_take_turns_at_a_stream(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(events(1))
        cloud.fault("hang", seconds=0.05, operation="PutLogEvents", times=2)
        await asyncio.gather(*(sink.deliver(events(25, start=1 + 25 * k)) for k in range(4)))
    assert arrived(cloud, "auditflow") == list(range(101))


async def test_a_guilty_event_is_left_out_and_the_order_of_the_others_kept(cloud):
    batch = events(30)
    batch[13] = b""
    async with opened(cloud) as sink:
        outcomes = await sink.deliver(batch)
    assert [n for n, o in enumerate(outcomes) if o.verdict is Verdict.REJECTED] == [13]
    assert arrived(cloud, "auditflow") == [n for n in range(30) if n != 13]


async def test_while_a_request_is_halved_what_follows_a_failure_waits_too(cloud):
    async with opened(cloud) as sink:
        await sink.deliver(events(1))
        refusal = {"code": "InvalidParameterException", "status": 400, "message": "one of them"}
        cloud.fault("error", operation="PutLogEvents", times=1, **refusal)
        cloud.fault("throttle", operation="PutLogEvents", times=1)
        outcomes = await sink.deliver(events(10))
    assert {o.code for o in outcomes} == {"ThrottlingException"}
    assert arrived(cloud, "auditflow") == [0]


async def test_a_pipeline_is_never_overtaken_even_after_retries(cloud, monkeypatch):
    monkeypatch.setattr(destination_module, "BACKOFF_BASE_SECONDS", 0.002)
    monkeypatch.setattr(destination_module, "BACKOFF_CAP_SECONDS", 0.01)
    chance = random.Random(7)
    journal, ledger = MemoryJournal(), MemoryLedger()
    ledger.register(["p"], journal.head(), journal.oldest())
    recorder, tail = Recorder(ledger), TailReader(journal)
    destination = Destination(made(cloud, log_stream="{{ stream }}", max_in_flight="2"))
    (account,) = ledger.accounts()
    record = PipelineOutcomes("p", account.progress.copy(), recorder)
    policy = DeliveryPolicy.model_validate({"max-in-flight": 4})
    gate = PauseGate()
    pipeline = Pipeline(tail, Decide(), DeliveryTarget(destination, policy, gate), record)
    jobs = [asyncio.create_task(job) for job in (recorder.run(), tail.run(), pipeline.run())]
    for kind in ("throttle", "unavailable", "reset"):
        cloud.fault(kind, operation="PutLogEvents", rate=0.15)
    for start in range(0, 600, 50):
        ids = [str(uuid_utils.uuid7()) for _ in range(50)]
        await journal.append(AppendBatch(events(50, streams=3, start=start), ids, ["_platform"] * 50))
        await asyncio.sleep(chance.random() * 0.01)
    await asyncio.to_thread(cloud.wait_for, 600, GROUP, timeout=60)
    tail.stop()
    gate.stop()
    await asyncio.wait_for(jobs[2], 60)
    recorder.stop()
    await asyncio.wait_for(asyncio.gather(*jobs), 60)
    await destination.close()
    for n in range(3):
        assert arrived(cloud, f"s{n}") == list(range(n, 600, 3))
