import pytest

from auditflow.sinks._base import Use
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

KEYS = {"access-key-id": "AKIAEXAMPLE", "secret-access-key": "top-secret"}
KMS = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::{}:role/{}"


def use(pipeline="a", *, from_environment=(), **given):
    given = {"log-group": "/acme/a", "create-log-group": False} | {
        name.replace("_", "-"): value for name, value in given.items()
    }
    return Use(pipeline, CloudWatchProperties.model_validate(given), frozenset(from_environment))


def messages(*uses):
    return [advice.message for advice in CloudWatchProperties.advice(uses)]


def test_a_role_and_a_group_of_somebody_else_need_no_advice():
    assert messages(use()) == []


def test_keys_in_the_file_are_advised_against_and_not_repeated():
    (message,) = messages(use(**KEYS))
    assert "written in the file" in message
    assert "top-secret" not in message


def test_keys_from_the_environment_are_advised_against_gently():
    (message,) = messages(use(**KEYS, from_environment=["access-key-id", "secret-access-key"]))
    assert "from the environment work" in message


def test_a_secret_in_the_file_is_one_although_its_id_comes_from_the_environment():
    (message,) = messages(use(**KEYS, from_environment=["access-key-id"]))
    assert "written in the file" in message


def test_a_group_that_the_sink_creates_wants_a_retention_and_a_key():
    retention, key = messages(use(create_log_group=True))
    assert "without retention-in-days" in retention
    assert "without kms-key-id" in key
    assert messages(use(create_log_group=True, retention_in_days=90, kms_key_id=KMS)) == []


def test_a_group_of_the_class_delivery_has_its_retention():
    assert messages(use(create_log_group=True, log_group_class="DELIVERY", kms_key_id=KMS)) == []


@pytest.mark.parametrize("name", ["dev", "cloudwatch-development", "Staging.api", "dev2"])
def test_development_and_production_in_one_group_are_advised_against(name):
    advice = list(CloudWatchProperties.advice([use("cloudwatch-prod"), use(name), use("other")]))
    assert [(each.pipeline, "cloudwatch-prod" in each.message) for each in advice] == [(name, True)]


def test_the_stream_may_name_the_environment():
    (message,) = messages(use("one", log_stream="prod-events"), use("two", log_stream="dev-events"))
    assert "two and one write into one log group" in message


@pytest.mark.parametrize("name", ["devices", "cloudwatch", "prod-to-dev", "eu-prod"])
def test_names_that_mean_no_environment_or_both_are_no_reason_for_advice(name):
    assert messages(use("us-prod"), use(name)) == []


@pytest.mark.parametrize(
    "other",
    [
        {"log_group": "/acme/b"},
        {"region": "eu-west-1"},
        {"role_arn": ROLE.format("222222222222", "Sink")},
        {"profile": "development"},
    ],
)
def test_groups_of_one_name_in_two_regions_or_accounts_are_two(other):
    assert messages(use("prod"), use("dev", **other)) == []


def test_two_roles_of_one_account_reach_one_group():
    roles = (ROLE.format("222222222222", name) for name in ("Prod", "Dev"))
    (message,) = messages(
        *(use(name, role_arn=role) for name, role in zip(("prod", "dev"), roles, strict=True))
    )
    assert "dev and prod write into one log group" in message


def test_a_region_that_is_left_out_is_the_one_that_is_meant(monkeypatch):
    def shared(**region: str) -> bool:
        return bool(messages(use("web-prod", region="eu-west-1"), use("web-dev", **region)))

    assert not shared()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert shared()
    assert not shared(region="us-east-1")


def test_a_date_that_is_no_field_is_advised_against():
    (message,) = messages(use(log_stream="app-%Y-%m-%d"))
    assert message.startswith("log-stream holds a %")
    assert messages(use(log_stream="app-{{ eventTime:%Y-%m-%d }}")) == []


@pytest.mark.parametrize("field", ["eventId", "eventTime", "timestamp", "correlationId"])
def test_a_stream_for_each_event_is_advised_against(field):
    (message,) = messages(use(log_stream=f"app-{{{{ {field} }}}}"))
    assert f"by {field}" in message
