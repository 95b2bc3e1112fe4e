import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from auditflow.cli.aws import logs as _aws_logs
from auditflow.cli.aws import query as _aws_query
from auditflow.testing.cloudwatch import StrictCloudWatch
from auditflow.testing.cloudwatch.insights import queries as insights

pytestmark = pytest.mark.usefixtures("no_aws_configuration")

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_logs, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(_aws_query, "PAUSE", 0.01)


@pytest.fixture
def put(cloud: StrictCloudWatch) -> Iterator[Run]:
    """Put events into a log group of a region, one second apart."""
    clients: list[Any] = []

    def put(group: str, *events: dict[str, Any], region: str = "us-east-1") -> None:
        client = boto3.client(
            "logs", endpoint_url=cloud.url, region_name=region,
            aws_access_key_id="AKIAANY", aws_secret_access_key="s",
        )  # fmt: skip
        clients.append(client)
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="auditflow")
        start = int(time.time() * 1000) - 60_000
        records = [{"timestamp": start + 1000 * n, "message": json.dumps(e)} for n, e in enumerate(events)]
        client.put_log_events(logGroupName=group, logStreamName="auditflow", logEvents=records)

    yield put
    for client in clients:
        client.close()


def configured(cloud: StrictCloudWatch, **groups: dict[str, Any]) -> None:
    common = {"endpoint-url": cloud.url, "access-key-id": "AKIAANY", "secret-access-key": "s"}
    pipelines = [
        {"name": name, "sink": {"name": "aws_cloudwatch_sink", "properties": common | given}}
        for name, given in groups.items()
    ]
    Path("auditflow.yaml").write_text(json.dumps({"pipelines": pipelines}))


def rows(answer: Any) -> list[dict[str, str]]:
    assert answer.code == 0, answer.err
    found: list[dict[str, str]] = json.loads(answer.out)["rows"]
    return found


def event(number: int, user: str = "ann", status: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    return {
        "eventId": f"e{number}",
        "eventType": "a",
        "extra": {"userId": user, "actionStatus": status},
    } | more


def test_the_latest_events_of_all_regions_come_newest_first(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, here={"log-group": "/here"}, there={"log-group": "/there", "region": "eu-west-1"})
    put("/here", event(1), event(3, at="x"))
    put("/there", event(2), region="eu-west-1")
    found = rows(auditflow("aws", "query", "--format", "json"))
    assert {row["eventId"] for row in found} == {"e1", "e2", "e3"}
    assert [row["@timestamp"] for row in found] == sorted((row["@timestamp"] for row in found), reverse=True)
    assert len(rows(auditflow("aws", "query", "--limit", "2", "--format", "json"))) == 2
    only = rows(auditflow("aws", "query", "--pipeline", "there", "--format", "json"))
    assert [row["eventId"] for row in only] == ["e2"]


def test_actors_are_counted_over_all_regions(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"}, there={"log-group": "/there", "region": "eu-west-1"})
    put("/here", event(1, "bob"), event(2, "ann"), {"eventId": "e0"})
    put("/there", event(3, "ann"), event(4, "ann"), region="eu-west-1")
    assert rows(auditflow("aws", "query", "actors", "--format", "json")) == [
        {"extra.userId": "ann", "events": "3"},
        {"extra.userId": "bob", "events": "1"},
    ]


def test_failures_are_what_failed_or_was_denied(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1, status="FAILURE"), event(2), event(3, status="DENIED"))
    found = rows(auditflow("aws", "query", "failures", "--format", "json"))
    assert [row["eventId"] for row in found] == ["e3", "e1"]


def test_duplicates_are_events_and_parts_that_are_there_twice(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, here={"log-group": "/here"}, copy={"log-group": "/copy"})
    parts = [{"eventId": name, "part": part, "parts": 2} for name, part in (("p", 1), ("p", 2), ("q", 1))]
    again = [{"eventId": "q", "part": part, "parts": 2} for part in (1, 2)]
    put("/here", event(1), event(1), event(2), *parts, *again)
    put("/copy", event(2))
    found = rows(auditflow("aws", "query", "duplicates", "--format", "json"))
    assert {row["eventId"]: row["copies"] for row in found} == {"q": "3", "e1": "2"}


def test_groups_that_events_name_are_found_by_their_beginning(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, tenants={"log-group": "/acme/{{ tenantId:-none }}"})
    for number in range(53):  # more than a page of DescribeLogGroups, and than one query takes
        put(f"/acme/{number}", event(number))
    put("/other", event(99))
    answer = auditflow("aws", "query", "--limit", "100", "--format", "json")
    assert {row["eventId"] for row in rows(answer)} == {f"e{number}" for number in range(53)}
    assert len(json.loads(answer.out)["logGroups"]) == 53


def test_a_query_of_ones_own_is_shown_as_a_table(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1, "\x1b[31mann"))
    answer = auditflow("aws", "query", "fields extra.userId, eventId | limit 5")
    assert (answer.code, answer.err) == (0, "")
    assert [line.split() for line in answer.out.splitlines()] == [
        ["extra.userId", "eventId"],
        ["\\u001b[31mann", "e1"],
    ]


def test_times_outside_the_range_are_not_searched(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1))
    assert "nothing found in 1 log groups" in auditflow("aws", "query", "--since", "10s").out
    assert "nothing found" in auditflow("aws", "query", "--since", "2020-01-01T00:00Z", "--until", "1h").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latst"], "did you mean latest?"),
        (["--since", "yesterday"], "expected now, an age"),
        (["--since", "1h", "--until", "2h"], "not before --until"),
        (["--pipeline", "hree"], "did you mean here?"),
    ],
)
def test_a_wrong_argument_is_said_with_what_is_right(
    auditflow: Run, cloud: StrictCloudWatch, arguments: list[str], said: str
) -> None:
    configured(cloud, here={"log-group": "/here"})
    answer = auditflow("aws", "query", *arguments)
    assert answer.code == 2
    assert said in answer.err


def test_a_refused_query_and_a_missing_permission_end_with_what_fixes_them(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1))
    answer = auditflow("aws", "query", "nonsense | it is")
    assert (answer.code, answer.out) == (1, "")
    assert "hint: Fix the query" in answer.err
    cloud.fault("deny", operation="StartQuery")
    answer = auditflow("aws", "query")
    assert answer.code == 1
    assert '"Action": "logs:StartQuery"' in answer.err
    cloud.clear_faults()
    cloud.fault("deny", operation="GetQueryResults")
    answer = auditflow("aws", "query")
    assert '"Action": "logs:GetQueryResults", "Resource": "*"' in answer.err
    assert cloud.count("StopQuery") == 1


def test_throttling_is_waited_out(auditflow: Run, cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1))
    cloud.fault("throttle", operation="GetQueryResults", times=3)
    assert len(rows(auditflow("aws", "query", "--format", "json"))) == 1


def test_a_group_that_is_not_there_keeps_nothing_from_being_found_in_the_others(
    auditflow: Run, cloud: StrictCloudWatch, put: Run
) -> None:
    configured(cloud, here={"log-group": "/here"}, absent={"log-group": "/absent"})
    put("/here", event(1))
    answer = auditflow("aws", "query", "--format", "json")
    assert len(rows(answer)) == 1
    assert "not searched: /absent" in answer.err
    answer = auditflow("aws", "query", "--pipeline", "absent")
    assert answer.code == 1
    assert "auditflow doctor" in answer.err


@pytest.mark.parametrize("status", ["Failed", "Timeout", "Cancelled"])
def test_a_query_that_ends_otherwise_is_said_to_have(
    auditflow: Run, cloud: StrictCloudWatch, put: Run, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    class Ended(insights.Query):
        def __init__(self, rows: list[insights.Row], scanned: int, matched: int) -> None:
            super().__init__(rows, scanned, matched, status)

    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1))
    monkeypatch.setattr(insights, "Query", Ended)
    answer = auditflow("aws", "query")
    assert (answer.code, answer.out) == (1, "")
    assert f"ended as {status}" in answer.err
    assert "hint: " in answer.err


def test_an_interruption_stops_the_query(cloud: StrictCloudWatch, put: Run) -> None:
    configured(cloud, here={"log-group": "/here"})
    put("/here", event(1))
    cloud.fault("throttle", operation="GetQueryResults")
    process = subprocess.Popen(
        [sys.executable, "-m", "auditflow", "aws", "query"],
        env=os.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    cloud.wait_for(lambda: cloud.count("GetQueryResults") > 0, timeout=20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode != 0, out) == (True, "")
    assert "Traceback" not in err
    assert cloud.count("StopQuery") == 1
