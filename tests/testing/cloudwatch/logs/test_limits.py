import json

import boto3
import httpx2
import pytest

from auditflow.testing.cloudwatch.logs.limits import OPERATIONS, RETENTION_DAYS


@pytest.fixture(scope="module")
def model():
    return boto3.Session().client("logs", region_name="us-east-1").meta.service_model


def _shape_limits(shape):
    meta = shape.metadata
    return meta.get("min"), meta.get("max"), meta.get("pattern"), tuple(meta.get("enum", ()))


_KINDS = {
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "list": list,
    "map": dict,
    "structure": dict,
}


def _assert_same(rule, shape, path):
    assert rule.kind is _KINDS[shape.type_name], path
    least, most, pattern, choices = _shape_limits(shape)
    assert (rule.least, rule.most, rule.choices) == (least, most, choices), path
    assert (rule.pattern or "").strip("^$()") == (pattern or "").strip("^$()"), path
    if shape.type_name == "list" and rule.item:
        _assert_same(rule.item, shape.member, f"{path}[]")
    if shape.type_name == "map" and rule.key:
        _assert_same(rule.key, shape.key, f"{path}.key")
        _assert_same(rule.item, shape.value, f"{path}.value")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_table_says_what_the_service_model_says(operation, model):
    shape = model.operation_model(operation).input_shape
    table = {name.rstrip("*"): rule for name, rule in OPERATIONS[operation].items()}
    required = {name[:-1] for name in OPERATIONS[operation] if name.endswith("*")}
    assert table.keys() == shape.members.keys()
    assert required == set(shape.required_members)
    for name, rule in table.items():
        if name != "entity":
            _assert_same(rule, shape.members[name], f"{operation}.{name}")


@pytest.mark.parametrize("name", ["a", "A-z_0/9.#", "x" * 512])
def test_a_group_name_within_the_limits_is_taken(name, logs):
    logs.create_log_group(logGroupName=name)
    assert logs.describe_log_groups()["logGroups"][0]["logGroupName"] == name


@pytest.mark.parametrize(
    "name", ["", "x" * 513, "with space", "colon:", "star*", "ümlaut", "aws/mine", "nl\n"]
)
def test_a_group_name_beyond_the_limits_is_refused(name, logs, refused):
    assert refused(logs.create_log_group, logGroupName=name)[0] == "InvalidParameterException"


@pytest.mark.parametrize("name", ["s", "with space ü 😀/[$LATEST]#1", "x" * 512])
def test_a_stream_name_within_the_limits_is_taken(name, logs, stream):
    logs.create_log_stream(logGroupName="/audit", logStreamName=name)
    found = logs.describe_log_streams(logGroupName="/audit", logStreamNamePrefix=name)["logStreams"]
    assert [each["logStreamName"] for each in found] == [name]


@pytest.mark.parametrize("name", ["", "x" * 513, "a:b", "a*b", "\ud800"])
def test_a_stream_name_beyond_the_limits_is_refused(name, logs, stream, refused):
    call = logs.create_log_stream
    assert refused(call, logGroupName="/audit", logStreamName=name)[0] == "InvalidParameterException"


def test_exactly_the_documented_retention_values_are_taken(logs, stream, refused):
    for days in range(1, 3700):
        if days in RETENTION_DAYS:
            logs.put_retention_policy(logGroupName="/audit", retentionInDays=days)
    for days in (0, 2, 4, 366, 3654, -1):
        call = logs.put_retention_policy
        assert refused(call, logGroupName="/audit", retentionInDays=days)[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"logGroupName": "/audit", "logStreamName": "app"}, "InvalidParameterException"),
        ({"logGroupName": "/audit", "logEvents": []}, "InvalidParameterException"),
        ({"logGroupName": 5, "logStreamName": "app", "logEvents": []}, "SerializationException"),
        ({"logGroupName": "/audit", "logStreamName": "app", "logEvents": {}}, "SerializationException"),
    ],
    ids=["no events", "no stream", "group is a number", "events are an object"],
)
def test_a_missing_member_and_a_wrong_type_are_told_apart(given, code, stream, raw_put):
    assert raw_put(given)["__type"] == code


def test_an_unknown_member_is_refused_by_name(raw_put, stream, clock):
    event = {"timestamp": clock.ms, "message": "m"}
    answer = raw_put(stream | {"logEvents": [event], "logEvent": []})
    assert answer["__type"] == "InvalidParameterException"
    assert "'logEvent'" in answer["message"]
    answer = raw_put(stream | {"logEvents": [event | {"level": "info"}]})
    assert answer["__type"] == "InvalidParameterException"
    assert "level" in answer["message"]


@pytest.fixture
def raw_put(cloud):
    """Send any JSON as a PutLogEvents and give the decoded answer."""

    def call(given):
        headers = {
            "X-Amz-Target": "Logs_20140328.PutLogEvents",
            "X-Amz-Date": "20261118T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATEST/20261118/us-east-1/logs/aws4_request, "
            f"SignedHeaders=host, Signature={'0' * 64}",
        }
        return json.loads(httpx2.post(cloud.url, content=json.dumps(given), headers=headers).content)

    return call
