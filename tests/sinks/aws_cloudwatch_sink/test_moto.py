"""A second opinion on STS and IAM: somebody else's server."""

import urllib.request

import boto3
import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink

pytestmark = pytest.mark.slow

GROUP = "/aws/auditflow/moto"
ROLE = "arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole"


@pytest.fixture(scope="module")
def moto():
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def control(moto, path, body):
    request = urllib.request.Request(
        f"{moto}/moto-api/{path}", data=body, headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(request).close()


async def deliver(moto, **more):
    given = {
        "log-group": GROUP,
        "endpoint-url": moto,
        "sts-endpoint-url": moto,
        "access-key-id": "AKIAEXAMPLE",
        "secret-access-key": "secret",
    }
    sink = CloudWatchSink(CloudWatchProperties.model_validate({**given, **more}))
    await sink.open()
    outcomes = await sink.deliver(['{"eventType":"t","text":"日本"}'.encode()] * 3)
    await sink.close()
    return outcomes


def messages(moto, **credentials):
    client = boto3.client("logs", endpoint_url=moto, region_name="us-east-1", **credentials)
    found = client.get_log_events(logGroupName=GROUP, logStreamName="auditflow")["events"]
    client.close()
    return [event["message"] for event in found]


async def test_an_assumed_role_writes_into_the_account_of_the_role(moto):
    outcomes = await deliver(moto, **{"role-arn": ROLE, "external-id": "auditflow-unique-id"})
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * 3
    sts = boto3.client(
        "sts", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    assumed = sts.assume_role(RoleArn=ROLE, RoleSessionName="reader")["Credentials"]
    sts.close()
    keys = {
        "aws_access_key_id": assumed["AccessKeyId"],
        "aws_secret_access_key": assumed["SecretAccessKey"],
        "aws_session_token": assumed["SessionToken"],
    }
    assert messages(moto, **keys) == ['{"eventType":"t","text":"日本"}'] * 3


async def test_a_key_that_iam_does_not_know_is_blocked(moto):
    control(moto, "reset-auth", b"0")
    try:
        outcomes = await deliver(moto)
    finally:
        control(moto, "reset-auth", b"inf")
    assert {outcome.verdict for outcome in outcomes} == {Verdict.BLOCKED}
    assert "logs:PutLogEvents" in outcomes[0].hint
