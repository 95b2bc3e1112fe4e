"""Every entry of the guide's troubleshooting: the state, message and hint that status shows, and that work goes on.

One `auditflow serve` with a pipeline for each problem: none of them holds up another.
"""

from __future__ import annotations

import json
import socket
import uuid
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

from .conftest import wait_for

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what status says of it."""

    state: str
    code: str
    message: str
    hint: str
    fault: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)


def error(code: str, message: str) -> dict[str, Any]:
    return {"kind": "error", "code": code, "status": 400, "message": message}


TROUBLES = {
    "missing": Problem(
        "blocked", "ResourceNotFoundException", "does not exist", "aws logs create-log-group --log-group-name /problem/missing --region us-east-1",
        properties={"create-log-group": "false"},
    ),
    "denied": Problem(
        "blocked", "AccessDeniedException", "not authorized to perform: logs:PutLogEvents", '"logs:PutLogEvents"', {"kind": "deny"},
    ),
    "token": Problem(
        "retrying", "InvalidSequenceTokenException", "sequenceToken is invalid", "endpoint-url", {"kind": "invalid-sequence-token"},
    ),
    "expired": Problem(
        "blocked", "ExpiredTokenException", "security token included in the request is expired", "renew access-key-id", {"kind": "expired-token"},
    ),
    "disabled": Problem(
        "blocked", "UnrecognizedClientException", "security token included in the request is invalid", "access-key", {"kind": "unrecognized-client"},
    ),
    "behind": Problem(
        "blocked", "RequestExpired", "Request has expired", "clock", error("RequestExpired", "Request has expired."),
    ),
    "ahead": Problem(
        "blocked", "SignatureDoesNotMatch", "Signature not yet current", "clock",
        error("SignatureDoesNotMatch", "Signature not yet current: 20260101T000000Z is still later than 20251231T000000Z"),
    ),
    "late": Problem(
        "blocked", "SignatureDoesNotMatch", "Signature expired", "clock",
        error("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"),
    ),
    "mistyped": Problem(
        "blocked", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "secret-access-key",
        error("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."),
    ),
    "key": Problem(
        "blocked", "InvalidParameterException", "KMS key", "kms", {"kind": "kms-disabled"},
    ),
    "quota": Problem(
        "retrying", "ThrottlingException", "Rate exceeded", "raise the quota", {"kind": "throttle"},
    ),
}  # fmt: skip


def pipelines(more: dict[str, dict[str, Any]]) -> str:
    given = {name: problem.properties for name, problem in TROUBLES.items()} | more
    return json.dumps(
        {
            "pipelines": [
                {
                    "name": name,
                    "sink": {
                        "name": "aws_cloudwatch_sink",
                        "properties": {
                            "log-group": f"/problem/{name}",
                            "flush-interval": "50ms",
                            **properties,
                        },
                    },
                }
                for name, properties in given.items()
            ]
        }
    )


def delivered(cloud, name: str) -> list[str]:
    return sorted(json.loads(record.message)["eventId"] for record in cloud.events(f"/problem/{name}"))


def published(running, count: int = 5) -> list[str]:
    new = [str(uuid.uuid4()) for _ in range(count)]
    events = [{"eventType": "a", "sourceSystem": "b", "eventId": each} for each in new]
    assert running.publish(*events).status_code == 200
    return sorted(new)


def test_each_problem_is_named_with_what_fixes_it_and_ends_when_it_is_fixed(serve, cloud):
    for name, problem in TROUBLES.items():
        if problem.fault:
            cloud.fault(**problem.fault, operation="PutLogEvents", group=f"/problem/{name}")
    cloud.fault("already-accepted", group="/problem/accepted")
    running = serve(pipelines({"fine": {}, "accepted": {}}), cloud=cloud)
    events = published(running)
    for name, problem in TROUBLES.items():
        wait_for(lambda name=name: running.status(name)["lastError"], 120, f"{name} to show its problem")
        status = running.status(name)
        found = status["lastError"]
        assert (status["state"], found["code"]) == (problem.state, problem.code), name
        assert problem.message in found["message"], name
        assert problem.hint, name
        assert problem.hint in found["hint"], name
        assert status["pending"] == len(events), name
    assert running.settled("fine")["state"] == "active"
    assert delivered(cloud, "fine") == events
    assert running.settled("accepted")["delivered"] == len(events)  # the service says that it has them
    cloud.clear_faults()
    logs = boto3.client(
        "logs", "us-east-1", endpoint_url=cloud.url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    logs.create_log_group(logGroupName="/problem/missing")
    for name in TROUBLES:
        assert running.settled(name)["deadLettered"] == 0
        assert delivered(cloud, name) == events, name


def test_a_closed_network_is_waited_out(serve, cloud):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    running = serve(pipelines({"network": {"endpoint-url": f"http://127.0.0.1:{port}"}}), cloud=cloud)
    events = published(running)
    wait_for(lambda: running.status("network")["state"] == "retrying", 120, "the network to be missed")
    found = running.status("network")["lastError"]
    assert f"127.0.0.1:{port}" in found["message"]
    assert "let this machine reach the service" in found["hint"]
    with StrictCloudWatch(port=port) as opened:
        running.settled("network")
        assert delivered(opened, "network") == events


def test_without_credentials_events_are_held_and_the_hint_names_the_ways_to_give_some(serve, cloud, tmp_path):
    nothing = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    running = serve(pipelines({"fine": {}}), cloud=cloud, **nothing)
    events = published(running)
    wait_for(lambda: running.status("fine")["state"] == "blocked", 120, "the pipeline to be blocked")
    found = running.status("fine")["lastError"]
    assert found["code"] == "NoCredentialsError"
    assert "AWS_ACCESS_KEY_ID" in found["hint"]
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    running.settled("fine")
    assert delivered(cloud, "fine") == events
