import pytest

LINES = [
    ("a", 0, '{"eventType": "auth.login", "extra": {"ok": true, "ms": 12}, "n": null}'),
    ("b", 1, '{"eventType": "auth.logout", "extra": {"ok": false, "ms": 7}}'),
    ("a", 2, "ERROR disk-full on node 7"),
    ("b", 3, "warning: all well"),
]


@pytest.fixture
def search(logs, clock):
    logs.create_log_group(logGroupName="/s")
    for name in ("a", "b"):
        logs.create_log_stream(logGroupName="/s", logStreamName=name)
    for name, offset, message in LINES:
        batch = [{"timestamp": clock.ms + offset, "message": message}]
        logs.put_log_events(logGroupName="/s", logStreamName=name, logEvents=batch)

    def call(pattern="", **given):
        found = logs.filter_log_events(logGroupName="/s", filterPattern=pattern, **given)["events"]
        return [event["timestamp"] - clock.ms for event in found]

    return call


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", [0, 1, 2, 3]),
        ("ERROR", [2]),
        ("error", []),
        ("ERROR node", [2]),
        ('"disk-full on"', [2]),
        ("?ERROR ?warning", [2, 3]),
        ("-auth", [2, 3]),
        ('"\\"auth.login\\""', [0]),
        ('{ $.eventType = "auth.login" }', [0]),
        ('{ $.eventType = "auth.*" }', [0, 1]),
        ('{ $.eventType != "auth.login" }', [1]),
        ('{ $.extra.ms > 8 && $.eventType = "auth.login" }', [0]),
        ('{ ($.extra.ms < 8) || ($.eventType = "auth.login") }', [0, 1]),
        ("{ $.extra.ms = 7.0 }", [1]),
        ("{ $.extra.ok = true }", [0]),
        ("{ $.missing NOT EXISTS }", [0, 1, 2, 3]),
        ('{ $.eventType = "nothing" }', []),
    ],
)
def test_a_pattern_finds_exactly_its_events(pattern, found, search):
    assert search(pattern) == found


@pytest.mark.parametrize("pattern", ["disk-full", '{ $.a = "b"', "{ $.a }", "{ = 3 }", "[ip, user]"])
def test_what_is_no_pattern_is_refused(pattern, search, logs, refused):
    call = logs.filter_log_events
    assert refused(call, logGroupName="/s", filterPattern=pattern)[0] == "InvalidParameterException"


def test_streams_are_chosen_by_name_or_prefix_but_not_both(search, logs, refused):
    assert search(logStreamNames=["b", "none"]) == [1, 3]
    assert search(logStreamNamePrefix="a") == [0, 2]
    both = {"logGroupName": "/s", "logStreamNames": ["a"], "logStreamNamePrefix": "a"}
    assert refused(logs.filter_log_events, **both)[0] == "InvalidParameterException"


def test_both_ends_of_the_time_range_are_inclusive(search, clock):
    assert search(startTime=clock.ms + 1, endTime=clock.ms + 2) == [1, 2]


def test_the_newest_come_first_when_asked(search, logs, clock):
    assert search(startFromHead=False) == [3, 2, 1, 0]
    page = logs.filter_log_events(logGroupName="/s", startFromHead=False, limit=3)
    rest = logs.filter_log_events(logGroupName="/s", nextToken=page["nextToken"])
    assert [event["timestamp"] - clock.ms for event in rest["events"]] == [0]


def test_a_group_is_also_found_by_its_arn(search, logs):
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:/s"
    assert len(logs.filter_log_events(logGroupIdentifier=arn)["events"]) == 4


def test_pages_follow_each_other_without_loss_or_repeat(search, logs, clock):
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="/s", PaginationConfig={"PageSize": 3}
    )
    assert [len(page["events"]) for page in pages] == [3, 1]


def test_a_search_for_something_rare_has_empty_pages_with_a_token(logs, stream, clock):
    for message in ("hay", "hay", "needle"):
        batch = [{"timestamp": clock.ms, "message": message}] * (1 if message == "needle" else 10_000)
        logs.put_log_events(**stream, logEvents=batch)
    page = logs.filter_log_events(logGroupName="/audit", filterPattern="needle")
    assert page["events"] == []
    found = logs.get_paginator("filter_log_events").paginate(logGroupName="/audit", filterPattern="needle")
    assert [event["message"] for each in found for event in each["events"]] == ["needle"]


def test_empty_pages_come_on_demand(search, cloud, logs):
    cloud.fault("empty-page", times=2)
    pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName="/s"))
    assert [len(page["events"]) for page in pages] == [0, 0, 4]
