import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import pytest

from auditflow.cli._shared.configuration import load, readable
from auditflow.cli.aws import logs as _aws_logs
from auditflow.cli.aws import tail as _aws_tail
from auditflow.testing.cloudwatch import StrictCloudWatch

pytestmark = pytest.mark.usefixtures("no_aws_configuration")

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_logs, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(_aws_tail, "PAUSE", 0.01)


@pytest.fixture
def put(cloud: StrictCloudWatch) -> Iterator[Run]:
    """Put messages into a log group, all under one time, which is that many seconds ago."""
    client = boto3.client(
        "logs", endpoint_url=cloud.url, region_name="us-east-1",
        aws_access_key_id="AKIAANY", aws_secret_access_key="s",
    )  # fmt: skip

    def put(group: str, *messages: str, ago: float = 30) -> None:
        try:
            client.create_log_group(logGroupName=group)
            client.create_log_stream(logGroupName=group, logStreamName="auditflow")
        except client.exceptions.ResourceAlreadyExistsException:
            pass
        at = int((time.time() - ago) * 1000)
        records = [{"timestamp": at, "message": message} for message in messages]
        client.put_log_events(logGroupName=group, logStreamName="auditflow", logEvents=records)

    yield put
    client.close()


def configured(cloud: StrictCloudWatch, *groups: str) -> None:
    common = {"endpoint-url": cloud.url, "access-key-id": "AKIAANY", "secret-access-key": "s"}
    pipelines = [
        {
            "name": f"p{number}",
            "sink": {"name": "aws_cloudwatch_sink", "properties": {**common, "log-group": group}},
        }
        for number, group in enumerate(groups)
    ]
    Path("auditflow.yaml").write_text(json.dumps({"pipelines": pipelines}))


@pytest.fixture
def following() -> Iterator[Callable[[int], list[str]]]:
    """Follow the configured pipelines; gives the next so many messages."""
    loaded, _ = load(Path("auditflow.yaml"), None)
    with _aws_logs.sources(readable(loaded)) as sources:
        found = _aws_tail.tail(sources, time.time() - 3600, "", follow=True)
        yield lambda count: [each["message"] for each in islice(found, count)]


def test_events_of_all_groups_come_in_the_order_of_their_times(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, "/a", "/b/{{ tenantId:-none }}")
    put("/a", "first", ago=30)
    put("/b/x", "second", ago=20)
    put("/a", "third", ago=10)
    put("/a", "long ago", ago=900)
    answer = auditflow("aws", "tail", "--no-follow")
    assert (answer.code, answer.err) == (0, "")
    lines = [line.split(" ", 1)[1] for line in answer.out.splitlines()]
    assert lines == ["/a auditflow first", "/b/x auditflow second", "/a auditflow third"]
    assert auditflow("aws", "tail", "--no-follow", "--pipeline", "p1").out.count("\n") == 1


def test_json_is_one_object_a_line_and_text_is_safe_for_the_terminal(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, "/a")
    put("/a", "a \x1b[31m\nb")
    answer = auditflow("aws", "tail", "--no-follow", "--format", "json")
    found = json.loads(answer.out)
    assert (found["logGroup"], found["region"], found["message"]) == ("/a", "us-east-1", "a \x1b[31m\nb")
    assert auditflow("aws", "tail", "--no-follow").out.endswith("a \\u001b[31m\\u000ab\n")


def test_pages_and_empty_pages_are_passed(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, "/a")
    for at in range(3):
        put("/a", *(f"{at}-{number}" for number in range(5000)))
    empty = cloud.fault("empty-page", times=3)
    answer = auditflow("aws", "tail", "--no-follow")
    assert answer.out.count("\n") == 15_000
    assert empty.hits == 3


def test_the_filter_is_a_text_or_a_json_pattern(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, "/a")
    put("/a", '{"user": "a.b-c"}', '{"user": "d"}')
    for text in ('"user": "a.b-c', '{ $.user = "a.b-c" }'):
        answer = auditflow("aws", "tail", "--no-follow", "--filter", text)
        assert (answer.code, answer.out.count("\n"), "a.b-c" in answer.out) == (0, 1, True)


def test_a_refused_permission_ends_with_what_fixes_it(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, "/a")
    put("/a", "x")
    cloud.fault("deny", operation="FilterLogEvents")
    answer = auditflow("aws", "tail")
    assert (answer.code, answer.out) == (1, "")
    assert '"Action": "logs:FilterLogEvents"' in answer.err


def test_an_interruption_ends_it_well(
    auditflow: Run, cloud: StrictCloudWatch, put: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    configured(cloud, "/a")
    put("/a", "x")
    monkeypatch.setattr("time.sleep", interrupt)
    answer = auditflow("aws", "tail")
    assert (answer.code, answer.out.count("\n"), answer.err) == (0, 1, "")


class TestFollowing:
    @pytest.fixture(autouse=True)
    def _configured(self, no_aws_configuration: None, cloud: StrictCloudWatch, put: Run) -> None:
        configured(cloud, "/a", "/t/{{ tenantId:-none }}")
        put("/a", "one", ago=30)

    def test_what_arrives_comes_once_whatever_its_time(self, put: Run, following: Run) -> None:
        assert following(1) == ["one"]
        put("/a", "two", "three", ago=30)
        assert following(2) == ["two", "three"]
        put("/a", "late", ago=60)
        put("/a", "new", ago=0)
        assert following(2) == ["late", "new"]

    def test_an_event_of_the_future_does_not_hide_the_present(self, put: Run, following: Run) -> None:
        put("/a", "ahead", ago=-3600)
        assert following(2) == ["one", "ahead"]
        put("/a", "now", ago=0)
        assert following(1) == ["now"]

    def test_a_group_that_comes_into_being_is_followed_too(self, put: Run, following: Run) -> None:
        assert following(1) == ["one"]
        put("/t/new", "tenant")
        assert following(1) == ["tenant"]

    def test_a_throttled_look_is_taken_again(self, cloud: StrictCloudWatch, put: Run, following: Run) -> None:
        cloud.fault("throttle", operation="FilterLogEvents", times=3)
        assert following(1) == ["one"]

    def test_the_records_remembered_are_those_that_may_come_again(self, put: Run) -> None:
        put("/a", "old", ago=600)
        loaded, _ = load(Path("auditflow.yaml"), None)
        with _aws_logs.sources(readable(loaded)[:1]) as (source,):
            group = _aws_tail.Group(source, "/a", 0)
            assert [each["message"] for each in group.new("")] == ["old", "one"]
            assert len(group.seen) == 1
            assert list(group.new("")) == []


def test_a_group_that_is_not_there_yet_is_waited_for(
    cloud: StrictCloudWatch, put: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(cloud, "/later")
    pauses: list[float] = []

    def create_at_the_third(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            put("/later", "here")

    monkeypatch.setattr("time.sleep", create_at_the_third)
    loaded, _ = load(Path("auditflow.yaml"), None)
    with _aws_logs.sources(readable(loaded)) as sources:
        found = _aws_tail.tail(sources, time.time() - 600, "", follow=True)
        assert next(found)["message"] == "here"
    assert capsys.readouterr().err.count("log group /later") == 1
