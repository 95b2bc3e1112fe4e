"""Every entry of the guide's troubleshooting: the state, message and hint that status shows, and that work goes on.

One `auditflow serve` with a pipeline for each trouble: none of them holds up another.
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
class Trouble:
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
    "missing": Trouble(
        "blocked", "ResourceNotFoundException", "does not exist", "aws logs create-log-group --log-group-name /trouble/missing --region us-east-1",
        properties={"create-log-group": "false"},
    ),
    "denied": Trouble(
        "blocked", "AccessDeniedException", "not authorized to perform: logs:PutLogEvents", '"logs:PutLogEvents"', {"kind": "deny"},
    ),
    "token": Trouble(
        "retrying", "InvalidSequenceTokenException", "sequenceToken is invalid", "endpoint-url", {"kind": "invalid-sequence-token"},
    ),
    "expired": Trouble(
        "blocked", "ExpiredTokenException", "security token included in the request is expired", "renew access-key-id", {"kind": "expired-token"},
    ),
    "disabled": Trouble(
        "blocked", "UnrecognizedClientException", "security token included in the request is invalid", "access-key", {"kind": "unrecognized-client"},
    ),
    "behind": Trouble(
        "blocked", "RequestExpired", "Request has expired", "clock", error("RequestExpired", "Request has expired."),
    ),
    "ahead": Trouble(
        "blocked", "SignatureDoesNotMatch", "Signature not yet current", "clock",
        error("SignatureDoesNotMatch", "Signature not yet current: 20260101T000000Z is still later than 20251231T000000Z"),
    ),
    "late": Trouble(
        "blocked", "SignatureDoesNotMatch", "Signature expired", "clock",
        error("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"),
    ),
    "mistyped": Trouble(
        "blocked", "SignatureDoesNotMatch", "SignatureDoesNotMatch", "secret-access-key",
        error("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."),
    ),
    "key": Trouble(
        "blocked", "InvalidParameterException", "KMS key", "kms", {"kind": "kms-disabled"},
    ),
    "quota": Trouble(
        "retrying", "ThrottlingException", "Rate exceeded", "raise the quota", {"kind": "throttle"},
    ),
}  # fmt: skip


def pipelines(more: dict[str, dict[str, Any]]) -> str:
    given = {name: trouble.properties for name, trouble in TROUBLES.items()} | more
    return json.dumps(
        {
            "pipelines": [
                {
                    "name": name,
                    "sink": {
                        "name": "aws_cloudwatch_sink",
                        "properties": {
                            "log-group": f"/trouble/{name}",
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
    return sorted(json.loads(record.message)["eventId"] for record in cloud.events(f"/trouble/{name}"))


def published(running, count: int = 5) -> list[str]:
    new = [str(uuid.uuid4()) for _ in range(count)]
    events = [{"eventType": "a", "sourceSystem": "b", "eventId": each} for each in new]
    assert running.publish(*events).status_code == 200
    return sorted(new)


def test_each_trouble_is_named_with_what_mends_it_and_ends_when_it_is_mended(serve, cloud):
    for name, trouble in TROUBLES.items():
        if trouble.fault:
            cloud.fault(**trouble.fault, operation="PutLogEvents", group=f"/trouble/{name}")
    cloud.fault("already-accepted", group="/trouble/accepted")
    running = serve(pipelines({"fine": {}, "accepted": {}}), cloud=cloud)
    events = published(running)
    for name, trouble in TROUBLES.items():
        wait_for(lambda name=name: running.status(name)["lastError"], 30, f"{name} to be in trouble")
        status = running.status(name)
        found = status["lastError"]
        assert (status["state"], found["code"]) == (trouble.state, trouble.code), name
        assert trouble.message in found["message"], name
        assert trouble.hint, name
        assert trouble.hint in found["hint"], name
        assert status["pending"] == len(events), name
    assert running.settled("fine")["state"] == "active"
    assert delivered(cloud, "fine") == events
    assert running.settled("accepted")["delivered"] == len(events)  # the service says that it has them
    cloud.clear_faults()
    logs = boto3.client(
        "logs", "us-east-1", endpoint_url=cloud.url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    logs.create_log_group(logGroupName="/trouble/missing")
    for name in TROUBLES:
        assert running.settled(name)["deadLettered"] == 0
        assert delivered(cloud, name) == events, name


def test_a_closed_network_is_waited_out(serve, cloud):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    running = serve(pipelines({"network": {"endpoint-url": f"http://127.0.0.1:{port}"}}), cloud=cloud)
    events = published(running)
    wait_for(lambda: running.status("network")["state"] == "retrying", 30, "the network to be missed")
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
    wait_for(lambda: running.status("fine")["state"] == "blocked", 30, "the pipeline to be blocked")
    found = running.status("fine")["lastError"]
    assert found["code"] == "NoCredentialsError"
    assert "AWS_ACCESS_KEY_ID" in found["hint"]
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    running.settled("fine")
    assert delivered(cloud, "fine") == events
