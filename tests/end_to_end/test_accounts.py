"""The guide's three options for accounts, as real processes with identities and roles that are checked."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path

import boto3
import pytest

from .conftest import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUP = "/aws/auditflow/production"
SOURCE, TARGET, SECURITY, CENTRAL = "111111111111", "222222222222", "333333333333", "999999999999"
TARGET_ROLE = f"arn:aws:iam::{TARGET}:role/AuditFlowCloudWatchRole"
SECURITY_ROLE = f"arn:aws:iam::{SECURITY}:role/AuditFlowSecurityRole"
CENTRAL_ROLE = f"arn:aws:iam::{CENTRAL}:role/AuditFlowCentralLoggingRole"
IRSA_ROLE = f"arn:aws:iam::{SOURCE}:role/AuditFlowSourceRole"
OIDC = f"arn:aws:iam::{SOURCE}:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"
EXTERNAL_ID = "auditflow-unique-id"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def no_aws_configuration(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def cloud(cloud):
    """Register a source in each of two accounts, which may assume roles and nothing else."""
    for account, key in ((SOURCE, "AKIASOURCE"), (TARGET, "AKIADEVELOPMENT")):
        cloud.add_identity(key, "secret", account=account, policies=[allow("sts:AssumeRole")])
    return cloud


def allow(*actions):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
    }


WRITE = allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
"""What the pipelines here need: they create their group too, which the examples leave to somebody else."""


def example(name):
    """Give an example, letting the sink create the group that is there already in the guide."""
    text = (EXAMPLES / name).read_text()
    assert 'create-log-group: "false"' in text
    return text.replace('create-log-group: "false"', "flush-interval: 50ms")


def pipeline(name="cloudwatch", **properties):
    given = {"log-group": GROUP, "flush-interval": "50ms"} | {
        key.replace("_", "-"): value for key, value in properties.items()
    }
    return {"name": name, "sink": {"name": "aws_cloudwatch_sink", "properties": given}}


def configuration(*pipelines):
    return json.dumps({"pipelines": pipelines})


def source(cloud, key="AKIASOURCE"):
    return {"AWS_ENDPOINT_URL": cloud.url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret"}


def event(kind="auth.login", **more):
    return {"eventType": kind, "sourceSystem": "web"} | more


def publish(running, count):
    """Publish events and give their ids."""
    new = [str(uuid.uuid4()) for _ in range(count)]
    answer = running.publish(*[event(eventId=each) for each in new])
    assert answer.status_code == 200, answer.text
    return new


def ids(cloud, account, group=GROUP, **where):
    return [json.loads(each.message)["eventId"] for each in cloud.events(group, account=account, **where)]


def callers(cloud):
    return {each.identity for each in cloud.requests if each.operation == "PutLogEvents"}


def test_option_1_writes_with_the_keys_of_the_environment(serve, cloud):
    cloud.add_identity("AKIAWRITER", "secret", account=SOURCE, policies=[WRITE])
    running = serve(example("same-account.yaml"), **source(cloud, "AKIAWRITER"))
    running.publish(event())
    assert running.settled("cloudwatch-prod")["delivered"] == 1
    assert len(ids(cloud, SOURCE, stream="app-events")) == 1


def test_option_1_as_printed_needs_its_group_and_two_permissions(serve, cloud):
    actions = ("logs:PutLogEvents", "logs:CreateLogStream")
    cloud.add_identity("AKIAWRITER", "secret", account=SOURCE, policies=[allow(*actions)])
    running = serve((EXAMPLES / "same-account.yaml").read_text(), **source(cloud, "AKIAWRITER"))
    running.publish(event())
    wait_for(lambda: running.status("cloudwatch-prod")["state"] == "blocked", 120, "the group to be missed")
    error = running.status("cloudwatch-prod")["lastError"]
    assert "create-log-group" in error["hint"]
    assert f"aws logs create-log-group --log-group-name {GROUP} --region us-east-1" in error["hint"]
    cloud.add_identity("AKIAADMIN", "secret", account=SOURCE)
    keys = {"aws_access_key_id": "AKIAADMIN", "aws_secret_access_key": "secret"}
    logs = boto3.client("logs", "us-east-1", endpoint_url=cloud.url, **keys)
    logs.create_log_group(logGroupName=GROUP)
    assert running.settled("cloudwatch-prod")["delivered"] == 1
    assert len(ids(cloud, SOURCE, stream="app-events")) == 1


def test_one_region_that_is_down_does_not_hold_up_the_other(serve, cloud):
    cloud.add_identity("AKIAWRITER", "secret", account=SOURCE, policies=[WRITE])
    cloud.fault("unavailable", region="us-east-1")
    both = [pipeline(name, region=name) for name in ("us-east-1", "eu-west-1")]
    running = serve(configuration(*both), **source(cloud, "AKIAWRITER"))
    published = publish(running, 20)
    assert running.settled("eu-west-1")["delivered"] == 20
    assert running.status("us-east-1")["pending"] == 20
    cloud.clear_faults()
    running.settled("us-east-1")
    for region in ("us-east-1", "eu-west-1"):
        assert sorted(ids(cloud, SOURCE, region=region)) == sorted(published)


def test_option_1_writes_with_the_keys_of_the_file(serve, cloud):
    cloud.add_identity("AKIAWRITER", "secret", account=SOURCE, policies=[WRITE])
    keys = {"access_key_id": "AKIAWRITER", "secret_access_key": "${WRITER_SECRET}"}
    text = configuration(pipeline(**keys))
    running = serve(text, AWS_ENDPOINT_URL=cloud.url, WRITER_SECRET="secret")
    running.publish(event())
    assert running.settled()["delivered"] == 1
    assert len(ids(cloud, SOURCE)) == 1


def test_option_1_writes_with_a_profile_and_its_region(serve, cloud, tmp_path):
    cloud.add_identity("AKIAWRITER", "secret", account=SOURCE, policies=[WRITE])
    (tmp_path / "credentials").write_text(
        "[audit]\naws_access_key_id = AKIAWRITER\naws_secret_access_key = secret\n"
    )
    (tmp_path / "config").write_text("[profile audit]\nregion = eu-central-1\n")
    running = serve(configuration(pipeline(profile="audit")), AWS_ENDPOINT_URL=cloud.url)
    running.publish(event())
    assert running.settled()["delivered"] == 1
    assert len(ids(cloud, SOURCE, region="eu-central-1")) == 1


def test_option_2_writes_with_the_right_external_id_only_and_holds_the_others_back(serve, cloud):
    cloud.add_role(
        TARGET_ROLE, trust=[f"arn:aws:iam::{SOURCE}:root"], external_id=EXTERNAL_ID, policies=[WRITE]
    )
    running = serve(
        configuration(
            pipeline("right", role_arn=TARGET_ROLE, external_id=EXTERNAL_ID, log_stream="right"),
            pipeline("wrong", role_arn=TARGET_ROLE, external_id="another-id", log_stream="wrong"),
            pipeline("missing", role_arn=TARGET_ROLE, log_stream="missing"),
        ),
        **source(cloud),
    )
    running.publish(event())
    assert running.settled("right")["delivered"] == 1
    for name in ("wrong", "missing"):
        wait_for(lambda name=name: running.status(name)["state"] == "blocked", what=f"{name} to be blocked")
        assert (running.status(name)["pending"], running.status(name)["deadLettered"]) == (1, 0)
    assert len(ids(cloud, TARGET)) == len(ids(cloud, TARGET, stream="right")) == 1
    assert callers(cloud) == {f"arn:aws:sts::{TARGET}:assumed-role/AuditFlowCloudWatchRole/auditflow"}


def test_option_2_goes_on_once_the_trust_policy_is_fixed(serve, cloud):
    trusted = {"trust": [f"arn:aws:iam::{SOURCE}:root"], "policies": [WRITE]}
    cloud.add_role(TARGET_ROLE, external_id="another-id", **trusted)
    running = serve(configuration(pipeline(role_arn=TARGET_ROLE, external_id=EXTERNAL_ID)), **source(cloud))
    running.publish(event(), event())
    wait_for(lambda: running.status()["state"] == "blocked", what="the pipeline to be blocked")
    cloud.add_role(TARGET_ROLE, external_id=EXTERNAL_ID, **trusted)
    assert running.settled()["delivered"] == 2
    assert len(ids(cloud, TARGET)) == len(set(ids(cloud, TARGET))) == 2


def test_option_3_brings_two_accounts_together_in_the_central_one(serve, cloud):
    members = [f"arn:aws:iam::{account}:root" for account in (SOURCE, TARGET)]
    cloud.add_role(CENTRAL_ROLE, trust=members, policies=[WRITE])
    for account, key in ((SOURCE, "AKIASOURCE"), (TARGET, "AKIADEVELOPMENT")):
        running = serve(example("organizations.yaml"), ACCOUNT_ID=account, **source(cloud, key))
        running.publish(event())
        running.settled("cloudwatch-central")
        assert running.stop() == 0
        assert len(ids(cloud, CENTRAL, stream=f"account-{account}")) == 1
    assert len(ids(cloud, CENTRAL)) == 2


def test_with_irsa_one_process_writes_into_two_accounts_and_regions(serve, cloud, tmp_path):
    token = tmp_path / "token"
    token.write_text("header.payload.signature")
    cloud.add_role(IRSA_ROLE, trust=[OIDC], policies=[allow("sts:AssumeRole")])
    cloud.add_role(TARGET_ROLE, trust=[IRSA_ROLE], external_id=EXTERNAL_ID, policies=[WRITE])
    cloud.add_role(SECURITY_ROLE, trust=[IRSA_ROLE], policies=[WRITE])
    running = serve(
        example("irsa.yaml"),
        AWS_ENDPOINT_URL=cloud.url,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
        AWS_ROLE_ARN=IRSA_ROLE,
        AWS_REGION="us-east-1",
    )
    running.publish(event("auth.login"), event("document.viewed"))
    assert running.settled("security")["delivered"] == 1
    assert running.settled("everything")["delivered"] == 2
    assert len(ids(cloud, SECURITY, "/aws/auditflow/security", region="eu-west-1")) == 1
    assert len(ids(cloud, TARGET, region="us-east-1")) == 2
    assert callers(cloud) == {
        f"arn:aws:sts::{SECURITY}:assumed-role/AuditFlowSecurityRole/auditflow",
        f"arn:aws:sts::{TARGET}:assumed-role/AuditFlowCloudWatchRole/auditflow",
    }
    assert cloud.count("AssumeRoleWithWebIdentity") >= 1


def test_irsa_alone_writes_into_its_own_account(serve, cloud, tmp_path):
    (tmp_path / "token").write_text("header.payload.signature")
    cloud.add_role(IRSA_ROLE, trust=[OIDC], policies=[WRITE])
    environment = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": IRSA_ROLE}
    running = serve(configuration(pipeline()), AWS_ENDPOINT_URL=cloud.url, **environment)
    running.publish(event())
    assert running.settled()["delivered"] == 1
    assert len(ids(cloud, SOURCE)) == 1


def test_credentials_that_expire_on_the_way_are_renewed_and_no_event_is_lost_or_repeated(serve, cloud):
    lifetime = 2.0
    cloud.session_lifetime = lifetime
    cloud.add_role(TARGET_ROLE, trust=[f"arn:aws:iam::{SOURCE}:root"], policies=[WRITE])
    running = serve(configuration(pipeline(role_arn=TARGET_ROLE)), **source(cloud))
    published = []
    end = time.monotonic() + 2 * lifetime
    while time.monotonic() < end:
        published += publish(running, 5)
    assert running.settled()["delivered"] == len(published)
    assert sorted(ids(cloud, TARGET)) == sorted(published)
    assert cloud.count("AssumeRole") >= 3


def test_a_session_that_is_ended_early_is_replaced_and_no_event_is_lost_or_repeated(serve, cloud):
    cloud.add_role(TARGET_ROLE, trust=[f"arn:aws:iam::{SOURCE}:root"], policies=[WRITE])
    running = serve(configuration(pipeline(role_arn=TARGET_ROLE)), **source(cloud))
    published = publish(running, 10)
    running.settled()
    assert cloud.count("AssumeRole") == 1
    ended = cloud.fault("expired-token", operation="PutLogEvents", times=1)
    published += publish(running, 20)
    assert running.settled()["delivered"] == len(published)
    assert ended.hits == 1
    assert sorted(ids(cloud, TARGET)) == sorted(published)
    assert cloud.count("AssumeRole") == 2
