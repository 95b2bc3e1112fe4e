import pytest

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def test_a_group_is_described_with_all_it_was_created_with(logs, clock):
    logs.create_log_group(
        logGroupName="/a", kmsKeyId=KEY, tags={"Team": "sec ü"}, logGroupClass="INFREQUENT_ACCESS"
    )
    logs.put_retention_policy(logGroupName="/a", retentionInDays=30)
    (group,) = logs.describe_log_groups()["logGroups"]
    assert group == {
        "logGroupName": "/a",
        "creationTime": clock.ms,
        "retentionInDays": 30,
        "metricFilterCount": 0,
        "arn": "arn:aws:logs:us-east-1:123456789012:log-group:/a:*",
        "logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/a",
        "storedBytes": 0,
        "kmsKeyId": KEY,
        "logGroupClass": "INFREQUENT_ACCESS",
        "deletionProtectionEnabled": False,
    }
    assert logs.list_tags_log_group(logGroupName="/a")["tags"] == {"Team": "sec ü"}


def test_a_group_is_created_once(logs, refused):
    logs.create_log_group(logGroupName="/a")
    assert refused(logs.create_log_group, logGroupName="/a") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )


def test_a_deleted_group_is_gone_with_its_events(logs, stream, cloud, clock, refused):
    logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}])
    logs.delete_log_group(logGroupName="/audit")
    assert cloud.events("/audit") == []
    assert refused(logs.delete_log_group, logGroupName="/audit")[0] == "ResourceNotFoundException"


def test_a_protected_group_is_deleted_only_after_its_protection(logs, refused):
    logs.create_log_group(logGroupName="/a", deletionProtectionEnabled=True)
    assert refused(logs.delete_log_group, logGroupName="/a")[0] == "ValidationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier="/a", deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName="/a")


def test_groups_are_filtered_by_prefix_pattern_class_and_identifier(logs, refused):
    for name in ("/a/One", "/a/two", "/b/one"):
        logs.create_log_group(logGroupName=name)

    def names(**given):
        return [group["logGroupName"] for group in logs.describe_log_groups(**given)["logGroups"]]

    assert names(logGroupNamePrefix="/a/") == ["/a/One", "/a/two"]
    assert names(logGroupNamePattern="ONE") == ["/a/One", "/b/one"]
    assert names(logGroupIdentifiers=["/b/one"]) == ["/b/one"]
    assert names(logGroupClass="INFREQUENT_ACCESS") == []
    both = {"logGroupNamePrefix": "/a", "logGroupNamePattern": "a"}
    assert refused(logs.describe_log_groups, **both)[0] == "InvalidParameterException"


def test_groups_come_in_pages_of_at_most_fifty(logs, refused):
    for number in range(53):
        logs.create_log_group(logGroupName=f"/g/{number:02d}")
    assert len(logs.describe_log_groups()["logGroups"]) == 50
    pages = list(logs.get_paginator("describe_log_groups").paginate(limit=20))
    assert [len(page["logGroups"]) for page in pages] == [20, 20, 13]
    assert refused(logs.describe_log_groups, limit=51)[0] == "InvalidParameterException"
    assert refused(logs.describe_log_groups, nextToken="nonsense")[0] == "InvalidParameterException"


def test_retention_is_set_and_taken_away(logs, stream):
    logs.put_retention_policy(logGroupName="/audit", retentionInDays=7)
    assert logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 7
    logs.delete_retention_policy(logGroupName="/audit")
    assert "retentionInDays" not in logs.describe_log_groups()["logGroups"][0]


def test_a_key_is_associated_by_name_or_arn_and_taken_away(logs, stream, refused):
    logs.associate_kms_key(logGroupName="/audit", kmsKeyId=KEY)
    assert logs.describe_log_groups()["logGroups"][0]["kmsKeyId"] == KEY
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:/audit"
    logs.disassociate_kms_key(resourceIdentifier=arn)
    assert "kmsKeyId" not in logs.describe_log_groups()["logGroups"][0]
    assert refused(logs.associate_kms_key, kmsKeyId=KEY)[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    "key", ["alias/mine", "1111-2222", "arn:aws:kms:us-east-1:123456789012:alias/a", "k" * 257]
)
def test_a_key_must_be_given_by_its_arn(key, logs, refused):
    assert refused(logs.create_log_group, logGroupName="/a", kmsKeyId=key)[0] == "InvalidParameterException"
    assert logs.describe_log_groups()["logGroups"] == []


def test_regions_and_accounts_do_not_see_each_other(cloud, connect, logs):
    logs.create_log_group(logGroupName="/a")
    assert connect(cloud, region="eu-west-1").describe_log_groups()["logGroups"] == []


@pytest.mark.parametrize(
    "call", ["put_retention_policy", "delete_retention_policy", "create_log_stream", "describe_log_streams"]
)
def test_what_needs_a_group_says_when_there_is_none(call, logs, refused):
    extra = {
        "put_retention_policy": {"retentionInDays": 1},
        "create_log_stream": {"logStreamName": "s"},
    }
    code, message = refused(getattr(logs, call), logGroupName="/none", **extra.get(call, {}))
    assert (code, message) == ("ResourceNotFoundException", "The specified log group does not exist.")
