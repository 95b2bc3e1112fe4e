import asyncio
import json
import time

import pytest
from pydantic import ValidationError

from auditflow.sinks._aws.properties import AwsProperties
from auditflow.sinks._aws.session import AwsSession
from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

GROUP = "/aws/auditflow/production"
SOURCE = "arn:aws:iam::111111111111:user/source"
ROLE = "arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole"
EXTERNAL_ID = "auditflow-unique-id"
KEYS = {"access-key-id": "AKIASOURCE", "secret-access-key": "source-secret"}


def session(**given):
    properties = AwsProperties.model_validate(
        {name.replace("_", "-"): value for name, value in given.items()}
    )
    return AwsSession(properties, "logs", 1, lambda client: None)


@pytest.fixture
def accounts():
    """Give a server with the guide's cross-account set-up: a source account and a role in the target account."""
    with StrictCloudWatch() as cloud:
        cloud.add_identity("AKIASOURCE", "source-secret", account="111111111111", arn=SOURCE)
        cloud.add_role(ROLE, trust=["arn:aws:iam::111111111111:root"], external_id=EXTERNAL_ID)
        yield cloud


def sink_of(cloud, **more):
    return CloudWatchSink(
        CloudWatchProperties.model_validate(
            {
                "log-group": GROUP,
                "endpoint-url": cloud.url,
                "sts-endpoint-url": cloud.url,
                "role-arn": ROLE,
                "external-id": EXTERNAL_ID,
                **KEYS,
                **{name.replace("_", "-"): value for name, value in more.items()},
            }
        )
    )


async def deliver(sink, count=1):
    await sink.open()
    outcomes = await sink.deliver([b'{"eventType":"t"}'] * count)
    await sink.close()
    return outcomes


async def test_an_assumed_role_writes_into_the_other_account(accounts):
    (outcome,) = await deliver(sink_of(accounts))
    assert outcome.verdict is Verdict.DELIVERED
    assert len(accounts.events(GROUP, account="222222222222")) == 1
    callers = {r.identity for r in accounts.requests if r.operation == "PutLogEvents"}
    assert callers == {"arn:aws:sts::222222222222:assumed-role/AuditFlowCloudWatchRole/auditflow"}


async def test_a_role_is_assumed_once_for_all_sinks_that_share_it(accounts):
    sinks = [sink_of(accounts, log_stream=f"s{n}") for n in range(3)]
    await asyncio.gather(*(sink.open() for sink in sinks))
    await asyncio.gather(*(sink.deliver([b"{}"]) for sink in sinks))
    await asyncio.gather(*(sink.close() for sink in sinks))
    assert accounts.count("AssumeRole") == 1


async def test_sinks_with_another_session_name_do_not_share_it(accounts):
    sinks = [sink_of(accounts, role_session_name=name) for name in ("one", "two")]
    for sink in sinks:
        await sink.open()
        await sink.deliver([b"{}"])
    assert accounts.count("AssumeRole") == 2
    for sink in sinks:
        await sink.close()


async def test_a_wrong_external_id_is_blocked_and_names_both_sides(accounts):
    (outcome,) = await deliver(sink_of(accounts, external_id="wrong-one"))
    assert outcome.verdict is Verdict.BLOCKED
    assert all(text in outcome.hint for text in (SOURCE, ROLE, "sts:AssumeRole", "trust policy"))


async def test_a_role_session_is_renewed_before_it_ends(accounts):
    accounts.session_lifetime = 120  # below the margin that botocore keeps: each request asks again
    sink = sink_of(accounts)
    await sink.open()
    for _ in range(3):
        assert (await sink.deliver([b"{}"]))[0].verdict is Verdict.DELIVERED
    await sink.close()
    assert accounts.count("AssumeRole") >= 3


async def test_the_profile_of_the_source_may_come_from_a_file_and_carry_the_region(accounts, tmp_path):
    (tmp_path / "credentials").write_text(
        "[prod]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = source-secret\n"
    )
    (tmp_path / "config").write_text("[profile prod]\nregion = eu-central-1\n")
    sink = sink_of(accounts, profile="prod", access_key_id="", secret_access_key="")
    (outcome,) = await deliver(sink)
    assert outcome.where["region"] == "eu-central-1"
    assert len(accounts.events(GROUP, account="222222222222", region="eu-central-1")) == 1


async def test_credentials_that_appear_in_a_file_are_seen_without_a_restart(accounts, tmp_path):
    sink = sink_of(
        accounts, profile="late", role_arn="", external_id="", access_key_id="", secret_access_key=""
    )
    await sink.open()
    (outcome,) = await sink.deliver([b"{}"])
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "ProfileNotFound")
    text = "[late]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = wrong\n"
    (tmp_path / "credentials").write_text(text)
    (outcome,) = await sink.deliver([b"{}"])
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "UnrecognizedClientException")
    (tmp_path / "credentials").write_text(
        text.replace("AKIAOTHER", "AKIASOURCE").replace("wrong", "source-secret")
    )
    (outcome,) = await sink.deliver([b"{}"])
    assert outcome.verdict is Verdict.DELIVERED
    await sink.close()


async def test_sinks_that_share_a_role_are_all_fixed_by_new_source_credentials(accounts, tmp_path):
    text = "[shared]\naws_access_key_id = AKIASOURCE\naws_secret_access_key = {}\n"
    (tmp_path / "credentials").write_text(text.format("revoked"))
    sinks = [sink_of(accounts, profile="shared", access_key_id="", secret_access_key="") for _ in range(2)]
    for sink in sinks:
        await sink.open()
        assert (await sink.deliver([b"{}"]))[0].verdict is Verdict.BLOCKED
        await asyncio.get_running_loop().run_in_executor(
            None, sink._client.session.client
        )  # both hold the stale role
    (tmp_path / "credentials").write_text(text.format("source-secret"))
    for sink in sinks:
        await sink.deliver([b"{}"])  # finds the stale role refused, and lets it go
        assert (await sink.deliver([b"{}"]))[0].verdict is Verdict.DELIVERED
        await sink.close()


async def test_a_role_session_that_was_ended_is_replaced_although_others_share_it(accounts):
    sinks = [sink_of(accounts) for _ in range(2)]
    for sink in sinks:
        await sink.open()
        await sink.deliver([b"{}"])
    accounts.fault("expired-token", operation="PutLogEvents", times=1)
    assert (await sinks[0].deliver([b"{}"]))[0].verdict is Verdict.BLOCKED
    assert (await sinks[0].deliver([b"{}"]))[0].verdict is Verdict.DELIVERED
    assert accounts.count("AssumeRole") == 2
    for sink in sinks:
        await sink.close()


async def test_a_role_session_lasts_as_long_as_asked(accounts):
    sink = sink_of(accounts, role_duration_seconds=7200)
    await sink.open()
    await sink.deliver([b"{}"])
    left = sink._client.session._credentials._expiry_time.timestamp() - time.time()
    await sink.close()
    assert 7000 < left <= 7200


async def test_no_credentials_at_all_is_blocked_with_a_hint(accounts):
    (outcome,) = await deliver(sink_of(accounts, access_key_id="", secret_access_key=""))
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "NoCredentialsError")
    assert "AWS_ACCESS_KEY_ID" in outcome.hint


async def test_a_policy_statement_from_the_hint_fixes_the_denial(accounts):
    accounts.add_identity("AKIAPOOR", "s", account="111111111111", policies=[])
    own = {"role_arn": "", "external_id": "", "access_key_id": "AKIAPOOR", "secret_access_key": "s"}
    statements = []
    for _ in range(4):
        (outcome,) = await deliver(sink_of(accounts, **own))
        if outcome.verdict is Verdict.DELIVERED:
            break
        assert outcome.code == "AccessDeniedException"
        statements.append(json.loads(outcome.hint[outcome.hint.index("{") :]))
        policy = {"Version": "2012-10-17", "Statement": statements}
        accounts.add_identity("AKIAPOOR", "s", account="111111111111", policies=[policy])
    actions = [statement["Action"] for statement in statements]
    assert actions == ["logs:PutLogEvents", "logs:CreateLogGroup", "logs:CreateLogStream"]
    assert outcome.verdict is Verdict.DELIVERED


# Region


def test_the_region_comes_from_the_property_the_environment_the_profile_or_the_default(monkeypatch, tmp_path):
    def region(**given):
        found = session(**KEYS, **given)
        found.client()
        found.close()
        return found.region

    (tmp_path / "config").write_text("[default]\nregion = ap-south-1\n")
    assert region() == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert region() == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert region() == "eu-west-1"
    assert region(region="us-west-2") == "us-west-2"


def test_without_any_region_it_is_us_east_1():
    assert session().region == "us-east-1"


# Client


def test_the_client_retries_nothing_by_itself_and_says_who_it_is(cloud):
    found = session(**KEYS, endpoint_url=cloud.url)
    config = found.client().meta.config
    found.close()
    assert config.retries["total_max_attempts"] == 1
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (5, 20, 1)
    assert "auditflow/" in config.user_agent


def test_renewing_concerns_only_the_client_that_failed(cloud):
    found = session(**KEYS, endpoint_url=cloud.url)
    first = found.client()
    found.renew(first)
    second = found.client()
    found.renew(first)
    assert found.client() is second is not first
    found.close()


# Properties


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"access-key-id": "a"}, "secret-access-key is missing"),
        ({"secret-access-key": "a"}, "access-key-id is missing"),
        ({**KEYS, "profile": "p"}, "access-key-id.*profile"),
        ({"session-token": "t"}, "session-token needs access-key-id"),
        ({"external-id": "abc"}, "role-arn is missing"),
        ({"role-arn": "not-an-arn"}, "role-arn"),
        ({"role-arn": ROLE, "role-session-name": "a"}, "role-session-name"),
        ({"role-arn": ROLE, "role-duration-seconds": 60}, "role-duration-seconds"),
        ({"sts-endpoint-url": "sts"}, "sts-endpoint-url"),
    ],
)
def test_properties_that_do_not_fit_each_other_are_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        AwsProperties.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"access-key-id": "a"},
        {**KEYS, "profile": "p"},
        {"session-token": "t"},
        {"external-id": "abc"},
        {"endpoint-url": "https://logs.example", "use-fips-endpoint": "true"},
    ],
)
def test_properties_that_contradict_each_other_come_with_what_fixes_them(wrong):
    with pytest.raises(ValidationError) as caught:
        AwsProperties.model_validate(wrong)
    (fault,) = caught.value.errors()
    assert fault["ctx"]["hint"]


def test_an_empty_optional_property_counts_as_absent():
    empty = dict.fromkeys(
        [
            "region",
            "access-key-id",
            "secret-access-key",
            "session-token",
            "profile",
            "role-arn",
            "external-id",
        ],
        "",
    )
    assert AwsProperties.model_validate(empty) == AwsProperties()
