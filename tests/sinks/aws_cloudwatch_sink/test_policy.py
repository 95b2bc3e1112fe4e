"""The printed policies are proven: under the strict server's IAM they suffice, and nothing in them is too much."""

import copy
import json

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery, documents
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

GROUP = "/aws/auditflow/production"
SOURCE, TARGET = "111111111111", "222222222222"
ROLE = f"arn:aws:iam::{TARGET}:role/AuditFlowCloudWatchRole"
KEY = f"arn:aws:kms:us-east-1:{SOURCE}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
FULL = {"retention-in-days": 30, "tags": {"team": "audit"}}
NOTHING_CREATED = {"create-log-group": False, "create-log-stream": False}
CROSS_ACCOUNT = {"role-arn": ROLE, "external-id": "auditflow-unique-id"}


def delivery(name="a", **properties):
    return Delivery(
        name, "us-east-1", CloudWatchProperties.model_validate({"log-group": GROUP, **properties})
    )


def of(kind, deliveries, account=SOURCE, belongs_to=""):
    (found,) = [d for d in documents(deliveries, account) if d.kind == kind and belongs_to in d.belongs_to]
    return found


def allowed(policy):
    return {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def without(policy, action):
    """Take one action away."""
    rest = copy.deepcopy(policy)
    for statement in rest["Statement"]:
        listed = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        statement["Action"] = [each for each in listed if each != action]
    rest["Statement"] = [statement for statement in rest["Statement"] if statement["Action"]]
    return rest


async def deliver(cloud, event=b'{"tenantId":"acme"}', **properties):
    given = {
        "log-group": GROUP, "region": "us-east-1", "endpoint-url": cloud.url, "sts-endpoint-url": cloud.url,
        "access-key-id": "AKIASOURCE", "secret-access-key": "secret", **properties,
    }  # fmt: skip
    sink = CloudWatchSink(CloudWatchProperties.model_validate(given))
    await sink.open()
    (outcome,) = await sink.deliver([event])
    await sink.close()
    return outcome.verdict


async def delivered_with(policy, *, made=False, **properties):
    """Deliver as an identity with this policy alone; `made` says whether group and stream are there."""
    with StrictCloudWatch() as cloud:
        if made:
            cloud.add_identity("AKIAADMIN", "secret", account=SOURCE)
            keys = {"access-key-id": "AKIAADMIN"}
            assert await deliver(cloud, **keys) is Verdict.DELIVERED
        cloud.add_identity("AKIASOURCE", "secret", account=SOURCE, policies=[policy])
        return await deliver(cloud, **properties)


@pytest.mark.parametrize("account", [SOURCE, ""])
@pytest.mark.parametrize("properties", [{}, FULL, {"log-group": "/acme/{{ tenantId }}/audit", **FULL}])
async def test_the_policy_of_the_delivery_role_suffices_and_taking_any_action_away_blocks(
    properties, account
):
    policy = of("permissions", [delivery(**properties)], account).content
    assert await delivered_with(policy, **properties) is Verdict.DELIVERED
    for action in allowed(policy):
        assert await delivered_with(without(policy, action), **properties) is Verdict.BLOCKED, action


async def test_with_creation_off_putting_events_is_all_that_is_allowed():
    policy = of("permissions", [delivery(**NOTHING_CREATED)]).content
    assert allowed(policy) == {"logs:PutLogEvents"}
    stream = {"log-stream": "auditflow", **NOTHING_CREATED}
    assert await delivered_with(policy, made=True, **stream) is Verdict.DELIVERED


async def test_the_policy_is_for_its_log_group_alone():
    policy = of("permissions", [delivery()]).content
    assert await delivered_with(policy, **{"log-group": f"{GROUP}-2"}) is Verdict.BLOCKED
    assert f":{SOURCE}:log-group:{GROUP}:*" in json.dumps(policy)


async def test_names_that_had_to_be_changed_are_within_the_policy_of_a_template():
    template = {"log-group": "/acme/{{ tenantId }}/audit"}
    policy = of("permissions", [delivery(**template)]).content
    for tenant in ("a/b:c", "x" * 600):
        with StrictCloudWatch() as cloud:
            cloud.add_identity("AKIASOURCE", "secret", account=SOURCE, policies=[policy])
            event = json.dumps({"tenantId": tenant}).encode()
            assert await deliver(cloud, event, **template) is Verdict.DELIVERED


def cross_account(taken_away="", *, from_source=False, account=SOURCE):
    """Give a server set up with exactly what is printed, less one action."""
    printed = [delivery(**CROSS_ACCOUNT, **FULL)]
    source = of("permissions", printed, account, "delivery role").content
    target = of("permissions", printed, account, "AuditFlowCloudWatchRole").content
    trust = of("trust", printed, account).content
    cloud = StrictCloudWatch()
    source, target = (
        (without(source, taken_away), target) if from_source else (source, without(target, taken_away))
    )
    cloud.add_identity("AKIASOURCE", "secret", account=SOURCE, policies=[source])
    cloud.add_role(ROLE, trust=trust, policies=[target])
    return cloud, allowed(target)


async def test_the_policies_of_two_accounts_suffice_and_taking_any_action_away_blocks():
    cloud, actions = cross_account()
    with cloud:
        assert await deliver(cloud, **CROSS_ACCOUNT, **FULL) is Verdict.DELIVERED
        assert len(cloud.events(GROUP, account=TARGET)) == 1
    for action in actions:
        with cross_account(action)[0] as cloud:
            assert await deliver(cloud, **CROSS_ACCOUNT, **FULL) is Verdict.BLOCKED, action
    with cross_account("sts:AssumeRole", from_source=True)[0] as cloud:
        assert await deliver(cloud, **CROSS_ACCOUNT, **FULL) is Verdict.BLOCKED


@pytest.mark.parametrize("external_id", [None, "another-id"])
async def test_the_trust_policy_asks_for_the_external_id(external_id):
    with cross_account()[0] as cloud:
        given = {"role-arn": ROLE, "external-id": external_id}
        assert await deliver(cloud, **given, **FULL) is Verdict.BLOCKED


def test_pipelines_of_one_role_and_group_share_a_statement():
    printed = [
        delivery("a", **CROSS_ACCOUNT, **NOTHING_CREATED),
        delivery("b", **CROSS_ACCOUNT, **{**NOTHING_CREATED, "create-log-stream": True}),
        delivery("c", **CROSS_ACCOUNT, **{**NOTHING_CREATED, "log-group": "/other"}),
    ]
    role = of("permissions", printed, belongs_to="AuditFlowCloudWatchRole")
    assert role.pipelines == ("a", "b", "c")
    assert [s["Action"] for s in role.content["Statement"]] == [
        ["logs:PutLogEvents", "logs:CreateLogStream"],
        "logs:PutLogEvents",
    ]
    source = of("permissions", printed, belongs_to="delivery role").content["Statement"]
    assert source == [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}]


def test_identities_of_their_own_have_policies_of_their_own_without_their_keys():
    keys = {"access-key-id": "AKIAOWNKEY", "secret-access-key": "own-secret"}
    printed = documents([delivery("a"), delivery("b", **keys), delivery("c", profile="prod")], SOURCE)
    assert [(d.account, d.kind, d.pipelines) for d in printed] == [
        (SOURCE, "permissions", ("a",)),
        (SOURCE, "service-account", ("a",)),
        ("*", "permissions", ("b",)),
        ("*", "permissions", ("c",)),
    ]
    assert "AKIAOWNKEY" not in str(printed)
    assert "own-secret" not in str(printed)


def test_a_key_lets_cloudwatch_logs_use_it_for_the_group():
    key = of("key", [delivery(**{"kms-key-id": KEY})])
    statement = key.content
    assert key.account == SOURCE
    assert statement["Principal"] == {"Service": "logs.us-east-1.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:us-east-1:{SOURCE}:log-group:{GROUP}"
        }
    }


def test_the_service_account_is_the_guides():
    manifest = of("service-account", [delivery()]).content
    assert manifest["metadata"] == {
        "name": "auditflow-sink",
        "namespace": "labs64io",
        "annotations": {"eks.amazonaws.com/role-arn": f"arn:aws:iam::{SOURCE}:role/AuditFlowSourceRole"},
    }


def test_an_unknown_account_is_never_a_wildcard_in_a_trust_policy():
    trust = of("trust", [delivery(**CROSS_ACCOUNT)], account="").content
    assert trust["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::ACCOUNT-ID:root"}


def test_other_partitions_are_named_by_their_regions():
    china = CloudWatchProperties.model_validate({"log-group": GROUP})
    printed = documents([Delivery("a", "cn-north-1", china)], SOURCE)
    assert "arn:aws-cn:logs:cn-north-1" in json.dumps(printed[0].content)
    assert "arn:aws-cn:iam" in json.dumps(printed[1].content)
