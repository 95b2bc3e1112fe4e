import pytest

ARN = "arn:aws:logs:us-east-1:123456789012:log-group:/audit"


def test_tags_are_merged_and_taken_away_by_name(logs, stream):
    logs.tag_log_group(logGroupName="/audit", tags={"a": "1", "b": "2"})
    logs.tag_log_group(logGroupName="/audit", tags={"b": "3", "c": ""})
    assert logs.list_tags_log_group(logGroupName="/audit")["tags"] == {"a": "1", "b": "3", "c": ""}
    logs.untag_log_group(logGroupName="/audit", tags=["a", "never"])
    assert logs.list_tags_for_resource(resourceArn=ARN)["tags"] == {"b": "3", "c": ""}


def test_tags_are_merged_and_taken_away_by_arn(logs, stream):
    logs.tag_resource(resourceArn=ARN, tags={"a": "1", "b": "2"})
    logs.untag_resource(resourceArn=ARN, tagKeys=["a"])
    assert logs.list_tags_log_group(logGroupName="/audit")["tags"] == {"b": "2"}


def test_fifty_tags_are_taken_and_one_more_is_not(logs, stream, refused):
    logs.tag_resource(resourceArn=ARN, tags={f"k{i}": "v" for i in range(50)})
    assert refused(logs.tag_resource, resourceArn=ARN, tags={"one": "more"})[0] == "TooManyTagsException"
    logs.tag_resource(resourceArn=ARN, tags={"k0": "changed"})
    too_many = {f"k{i}": "v" for i in range(51)}
    call = logs.create_log_group
    assert refused(call, logGroupName="/b", tags=too_many)[0] == "InvalidParameterException"


@pytest.mark.parametrize("tags", [{"k" * 128: "v" * 256}, {"Ключ _.:/=+-@": "Wert ü"}])
def test_tags_within_the_limits_are_taken(tags, logs, stream):
    logs.tag_log_group(logGroupName="/audit", tags=tags)
    assert logs.list_tags_log_group(logGroupName="/audit")["tags"] == tags


@pytest.mark.parametrize(
    "tags", [{}, {"": "v"}, {"k" * 129: "v"}, {"k": "v" * 257}, {"k!": "v"}, {"k": "v*"}, {"aws:x": "v"}]
)
def test_tags_beyond_the_limits_are_refused(tags, logs, stream, refused):
    assert refused(logs.tag_log_group, logGroupName="/audit", tags=tags)[0] == "InvalidParameterException"


@pytest.mark.parametrize("arn", [f"{ARN}:*", f"{ARN}:log-stream:app", "not-an-arn"])
def test_only_groups_are_taggable_by_a_plain_arn(arn, logs, stream, refused):
    assert refused(logs.tag_resource, resourceArn=arn, tags={"a": "b"})[0] == "InvalidParameterException"


def test_a_missing_group_has_no_tags(logs, refused):
    assert refused(logs.list_tags_for_resource, resourceArn=ARN)[0] == "ResourceNotFoundException"
