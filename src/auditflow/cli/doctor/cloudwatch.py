"""Tries a way to CloudWatch Logs, step by step."""
# Tested in tests/cli/doctor/test_examination.py.

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import uuid_utils

from auditflow.errors import AuditFlowError
from auditflow.event.model import encode
from auditflow.ingest.stamp import now_rfc3339
from auditflow.sinks._aws.session import AwsSession, require_boto3
from auditflow.sinks._base import Outcome, Verdict
from auditflow.sinks.aws_cloudwatch_sink.client import LogsClient
from auditflow.sinks.aws_cloudwatch_sink.errors import (
    MISSING,
    Place,
    classify,
    error_code,
    needs_new_credentials,
)
from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchSink
from auditflow.sinks.aws_cloudwatch_sink.streams import absent

ATTEMPTS: Final = 3
"""Of putting the test event, while the sink says that it may go again."""
PATIENCE: Final = 10.0
"""Seconds in which a delivered event should be found: searching is eventually consistent."""
_IF_IT_STAYS: Final = (
    "It may pass by itself, and delivery tries again; if it stays, see what answers: proxy-url, endpoint-url."
)
_DENIED: Final = {"AccessDeniedException", "AccessDenied"}

Status = Literal["ok", "failed", "unknown", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an examination, and how it ended."""

    name: str
    status: Status
    said: str
    hint: str = ""


@dataclass(slots=True)
class _Patient:
    delivery: Delivery
    client: LogsClient
    written: dict[str, Any] = field(default_factory=dict)
    """Where the test event is."""

    @property
    def properties(self) -> CloudWatchProperties:
        return self.delivery.properties

    @property
    def place(self) -> Place:
        return self.client.place(self.properties.log_group, self.properties.log_stream)

    def problem(self, name: str, error: Exception) -> Step:
        if isinstance(error, AuditFlowError):
            return Step(name, "failed", str(error), error.hint)
        return _unwell(name, classify(error, self.place))


async def steps(delivery: Delivery, *, write: bool) -> AsyncIterator[Step]:
    """Go on until a step fails without which the next ones make no sense."""
    patient = _Patient(delivery, LogsClient(delivery.properties))
    looks = [_credentials, *([_role] if delivery.properties.role_arn else []), _group]
    if not delivery.properties.create_log_stream:
        looks.append(_stream)
    try:
        for look in looks:
            step = await look(patient)
            yield step
            if step.status == "failed" and look in {_credentials, _role}:
                return
        if not write:
            yield Step("put", "skipped", "--write puts a marked test event")
            return
        yield (step := await _put(patient))
        if step.status == "ok":
            yield await _read_back(patient)
    finally:
        patient.client.close()


async def _credentials(patient: _Patient) -> Step:
    """Find credentials, and whose they are.

    Without a role the sink needs no STS; where only CloudWatch Logs has an address of its own, STS is looked for
    there too, and what comes back may mean nothing.
    """
    ours = patient.properties
    borrowed = "" if ours.role_arn or ours.sts_endpoint_url else ours.endpoint_url
    update = {"role_arn": None, "external_id": None, "sts_endpoint_url": borrowed or ours.sts_endpoint_url}
    return await _identity("credentials", patient, ours.model_copy(update=update), trusted=not borrowed)


async def _role(patient: _Patient) -> Step:
    return await _identity("role", patient, patient.properties, trusted=True)


async def _identity(name: str, patient: _Patient, properties: CloudWatchProperties, *, trusted: bool) -> Step:
    """Ask STS who these credentials are. That needs no permission, but a way to STS."""
    asking = properties.model_copy(update={"endpoint_url": properties.sts_endpoint_url})
    session = AwsSession(asking, "sts", 1, lambda _client: None)

    def ask() -> Step:
        require_boto3("aws_cloudwatch_sink")
        session.check_credentials()
        try:
            return Step(name, "ok", str(session.client().get_caller_identity()["Arn"]))
        except Exception as error:
            if trusted and needs_new_credentials(error):
                raise
            reason = classify(error, patient.place).reason
            return Step(name, "unknown", f"there are credentials; STS does not say whose: {reason}")

    try:
        return await patient.client.in_thread(ask)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its hint
        return patient.problem(name, error)
    finally:
        session.close()


async def _group(patient: _Patient) -> Step:
    name, field_, _ = patient.properties.log_group.partition("{{")
    if field_:
        return Step("log group", "unknown", "its name depends on the event")
    there = await _looked(
        patient, "log group", lambda client: client.describe_log_groups(logGroupNamePrefix=name, limit=1)
    )
    if isinstance(there, Step):
        return there
    if any(each["logGroupName"] == name for each in there["logGroups"]):
        return Step("log group", "ok", f"{name} exists")
    if patient.properties.create_log_group:
        return Step("log group", "ok", f"{name} does not exist; the first event creates it")
    return _unwell("log group", absent(patient.place, patient.properties, stream_only=False))


async def _stream(patient: _Patient) -> Step:
    ours = patient.properties
    if "{{" in ours.log_group + ours.log_stream:
        return Step("log stream", "unknown", "its name depends on the event")
    there = await _looked(
        patient,
        "log stream",
        lambda client: client.describe_log_streams(
            logGroupName=ours.log_group, logStreamNamePrefix=ours.log_stream, limit=1
        ),
    )
    if isinstance(there, Step):
        return there
    if any(each["logStreamName"] == ours.log_stream for each in there["logStreams"]):
        return Step("log stream", "ok", f"{ours.log_stream} exists")
    return _unwell("log stream", absent(patient.place, ours, stream_only=True))


async def _looked(patient: _Patient, name: str, look: Callable[[Any], Any]) -> Any:
    """Call what the sink itself never calls; not being allowed to is no failure."""
    try:
        return await patient.client.run(look)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its hint
        if error_code(error) in _DENIED:
            return Step(name, "unknown", "not allowed to look; delivery does not need to")
        if error_code(error) == MISSING:
            return Step(name, "unknown", "there is no log group to look into")
        return patient.problem(name, error)


async def _put(patient: _Patient) -> Step:
    now = now_rfc3339()
    event_id = str(uuid_utils.uuid7())
    event = {
        "eventId": event_id, "eventType": "auditflow.doctor", "sourceSystem": "auditflow",
        "timestamp": now, "eventTime": now, "extra": {"test": "true", "pipeline": patient.delivery.pipeline},
    }  # fmt: skip
    sink = CloudWatchSink(patient.properties)
    try:
        await sink.open()
        for _ in range(ATTEMPTS):
            (outcome,) = await sink.deliver([encode(event)])
            if outcome.verdict is not Verdict.RETRY:
                break
            await asyncio.sleep(max(1.0, outcome.retry_after))
    except AuditFlowError as error:
        return patient.problem("put", error)
    finally:
        await sink.close()
    if outcome.verdict is not Verdict.DELIVERED:
        return _unwell("put", outcome)
    patient.written = {**outcome.where, "event_id": event_id}
    return Step("put", "ok", f"test event {event_id} is in {outcome.where['destination']}")


async def _read_back(patient: _Patient) -> Step:
    place = patient.written
    since = int((time.time() - 3600) * 1000)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = await _looked(patient, "read back", lambda client: _search(client, place, since))
        if isinstance(found, Step):
            return replace(found, status="unknown", hint="")
        if found:
            return Step("read back", "ok", f"{place['log_group']} has it in {place['log_stream']}")
        await asyncio.sleep(0.5)
    return Step(
        "read back", "unknown", f"it was taken, and {PATIENCE:g} s later a search does not find it yet"
    )


def _search(client: Any, place: dict[str, Any], since: int) -> bool:
    """Look through all pages: one without events may be followed by one with them."""
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=place["log_group"],
        logStreamNames=[place["log_stream"]],
        filterPattern=f'"{place["event_id"]}"',
        startTime=since,
    )
    return any(page["events"] for page in pages)


def _unwell(name: str, outcome: Outcome) -> Step:
    hint = outcome.hint or (_IF_IT_STAYS if outcome.verdict is Verdict.RETRY else "")
    return Step(name, "failed", outcome.reason or outcome.code, hint)
