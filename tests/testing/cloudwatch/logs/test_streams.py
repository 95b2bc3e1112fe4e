import pytest


@pytest.fixture
def streams(logs, stream, clock):
    """Three streams, `b` with the newest event."""
    for offset, name in ((1, "a"), (3, "b"), (2, "ab")):
        logs.create_log_stream(logGroupName="/audit", logStreamName=name)
        batch = [{"timestamp": clock.ms + offset, "message": "m"}]
        logs.put_log_events(logGroupName="/audit", logStreamName=name, logEvents=batch)
    logs.delete_log_stream(**stream)


@pytest.fixture
def names(logs):
    def call(**given):
        found = logs.describe_log_streams(logGroupName="/audit", **given)["logStreams"]
        return [stream["logStreamName"] for stream in found]

    return call


def test_streams_are_listed_by_name_prefix_or_last_event(streams, names):
    assert names() == ["a", "ab", "b"]
    assert names(logStreamNamePrefix="a") == ["a", "ab"]
    assert names(orderBy="LastEventTime") == ["a", "ab", "b"]
    assert names(orderBy="LastEventTime", descending=True) == ["b", "ab", "a"]


def test_a_prefix_cannot_be_ordered_by_last_event(streams, logs, refused):
    given = {"logGroupName": "/audit", "logStreamNamePrefix": "a", "orderBy": "LastEventTime"}
    assert refused(logs.describe_log_streams, **given)[0] == "InvalidParameterException"


def test_a_stream_is_described_with_the_times_of_its_events(streams, logs, clock):
    found = logs.describe_log_streams(logGroupName="/audit", logStreamNamePrefix="b")["logStreams"][0]
    assert found["arn"] == "arn:aws:logs:us-east-1:123456789012:log-group:/audit:log-stream:b"
    assert found["firstEventTimestamp"] == found["lastEventTimestamp"] == clock.ms + 3
    assert found["lastIngestionTime"] == found["creationTime"] == clock.ms


def test_streams_come_in_pages(streams, logs):
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName="/audit", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["logStreams"]) for page in pages] == [2, 1]


def test_a_stream_is_created_once_and_deleted_once(logs, stream, refused):
    code, message = refused(logs.create_log_stream, **stream)
    assert (code, message) == ("ResourceAlreadyExistsException", "The specified log stream already exists")
    logs.delete_log_stream(**stream)
    assert refused(logs.delete_log_stream, **stream)[0] == "ResourceNotFoundException"
