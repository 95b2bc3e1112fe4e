import contextlib
import threading

import pytest

from auditflow import testing
from auditflow.testing.cloudwatch import StrictCloudWatch


def test_the_server_is_offered_where_users_look_for_it():
    assert testing.StrictCloudWatch is StrictCloudWatch
    with pytest.raises(AttributeError):
        testing.Nothing  # noqa: B018 - the access is the test


def test_waiting_ends_when_the_events_are_there(cloud, logs, stream, clock):
    batch = [{"timestamp": clock.ms, "message": "m"}]
    timer = threading.Timer(0.1, lambda: logs.put_log_events(**stream, logEvents=batch))
    timer.start()
    cloud.wait_for(1, "/audit", timeout=5)
    timer.join()
    assert len(cloud.events("/audit", "app")) == 1


def test_waiting_ends_when_the_condition_holds_even_one_that_asks_the_server(cloud, logs):
    cloud.wait_for(lambda: logs.describe_log_groups() is not None and cloud.count("DescribeLogGroups") >= 3)


def test_waiting_in_vain_says_what_the_server_saw(cloud, logs):
    logs.describe_log_groups()
    with pytest.raises(TimeoutError, match="DescribeLogGroups"):
        cloud.wait_for(1, "/audit", timeout=0.05)


def test_events_of_a_missing_group_or_stream_are_none(cloud, stream):
    assert cloud.events("/none") == []
    assert cloud.events("/audit", "none") == []


def test_requests_tell_who_asked_for_what(cloud, logs, clock, refused):
    refused(logs.delete_log_group, logGroupName="/none")
    (request,) = cloud.requests
    assert request.time == clock.seconds
    assert (request.service, request.operation, request.group) == ("logs", "DeleteLogGroup", "/none")
    assert (request.account, request.region) == ("123456789012", "us-east-1")
    assert request.identity == "arn:aws:iam::123456789012:user/AKIATEST"
    assert (request.outcome, request.status) == ("ResourceNotFoundException", 400)


def test_counting_counts_and_keeps_nothing(clock, connect):
    with StrictCloudWatch(clock=clock, counting=True) as cloud:
        logs = connect(cloud)
        logs.create_log_group(logGroupName="/a")
        names = {"logGroupName": "/a", "logStreamName": "s"}
        tricky = ['"timestamp":', '{"timestamp": 1, "logGroupName": "/b"}', "timestamp"]
        batch = [{"timestamp": clock.ms, "message": message} for message in tricky]
        with pytest.raises(logs.exceptions.ResourceNotFoundException):
            logs.put_log_events(**names, logEvents=batch)
        logs.create_log_stream(**names)
        logs.put_log_events(**names, logEvents=batch)
        cloud.wait_for(3, "/a", timeout=1)
        assert (cloud.summary()["stored"], cloud.requests[-1].events, cloud.requests[-1].group) == (
            3,
            3,
            "/a",
        )
        assert cloud.events("/a") == []


def test_the_totals_tell_how_well_requests_were_filled(cloud, logs, stream, clock):
    assert cloud.counts()["events_per_request"] == {"smallest": 0, "median": 0, "singles": 0}
    for size in (1, 5, 3, 1, 8):
        logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}] * size)
    cloud.fault("throttle", operation="PutLogEvents", times=1)
    with contextlib.suppress(logs.exceptions.ClientError):
        logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}] * 2)
    filled = cloud.counts()["events_per_request"]
    assert (filled["smallest"], filled["singles"]) == (1, 2)
    assert filled["median"] in {2, 3}


def test_many_clients_at_once_lose_nothing(cloud, connect, stream, clock):
    batch = [{"timestamp": clock.ms, "message": "m"}] * 10
    clients = [connect(cloud) for _ in range(8)]

    def put(client):
        for _ in range(10):
            client.put_log_events(**stream, logEvents=batch)

    threads = [threading.Thread(target=put, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cloud.events("/audit")) == 800
    assert len({record.ordinal for record in cloud.events("/audit")}) == 800


def test_a_port_is_free_again_after_stopping():
    with StrictCloudWatch() as first:
        port = int(first.url.rsplit(":", 1)[1])
    with StrictCloudWatch(port) as again:
        assert again.url == first.url
