import pytest


@pytest.fixture
def query(logs, clock):
    """Three events, and a function that runs a query over them and gives its rows without @ptr."""
    logs.create_log_group(logGroupName="/q")
    logs.create_log_stream(logGroupName="/q", logStreamName="s")
    messages = [
        '{"eventType": "auth.login", "user": {"id": "u1"}, "ms": 9, "ok": true}',
        '{"eventType": "auth.login", "user": {"id": "u2"}, "ms": 10, "ok": false, "tags": ["x", "y"]}',
        '{"eventType": "file.read", "user": {"id": "u1"}, "ms": 100}',
    ]
    batch = [{"timestamp": clock.ms + i, "message": message} for i, message in enumerate(messages)]
    logs.put_log_events(logGroupName="/q", logStreamName="s", logEvents=batch)

    def run(text, **given):
        now = int(clock.seconds)
        given = {"logGroupName": "/q", "startTime": now - 60, "endTime": now, "queryString": text} | given
        query_id = logs.start_query(**given)["queryId"]
        answers = [logs.get_query_results(queryId=query_id) for _ in range(2)]
        assert [answer["status"] for answer in answers] == ["Running", "Complete"]
        rows = [{cell["field"]: cell["value"] for cell in row} for row in answers[1]["results"]]
        return [{name: value for name, value in row.items() if name != "@ptr"} for row in rows]

    return run


def test_the_guides_query_gives_time_and_message_newest_first(query):
    rows = query("fields @timestamp, @message | sort @timestamp desc | limit 2")
    assert [row["@timestamp"] for row in rows] == ["2026-11-18 11:06:40.002", "2026-11-18 11:06:40.001"]
    assert '"file.read"' in rows[0]["@message"]


def test_fields_of_json_messages_are_discovered(query):
    rows = query("fields eventType, user.id, ok, tags.1 as tag | sort ms asc")
    assert rows == [
        {"eventType": "auth.login", "user.id": "u1", "ok": "1"},
        {"eventType": "auth.login", "user.id": "u2", "ok": "0", "tag": "y"},
        {"eventType": "file.read", "user.id": "u1"},
    ]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ('eventType = "auth.login"', ["9", "10"]),
        ("eventType != 'auth.login'", ["100"]),
        ("ms > 9 and ms < 100", ["10"]),
        ("ms = 9 or user.id = 'u2'", ["9", "10"]),
        ("not (ms = 9 or ms = 10)", ["100"]),
        ("eventType like /^auth[.]/", ["9", "10"]),
        ("eventType like 'read'", ["100"]),
        ("eventType not like /read|never/", ["9", "10"]),
        ("user.id in ['u2', 'u3']", ["10"]),
        ("ispresent(ok)", ["9", "10"]),
        ('@message like "file.read"', ["100"]),
        ("`user.id` = 'u2'", ["10"]),
        ("@logStream = 's' and ok = true", ["9"]),
    ],
)
def test_a_filter_keeps_exactly_its_events(condition, found, query):
    assert [row["ms"] for row in query(f"fields ms | filter {condition} | sort ms")] == found


def test_numbers_are_sorted_as_numbers(query):
    assert [row["ms"] for row in query("fields ms | sort ms desc")] == ["100", "10", "9"]


def test_events_are_counted_by_field(query):
    rows = query("stats count(*) as n by eventType | sort n desc")
    assert rows == [{"eventType": "auth.login", "n": "2"}, {"eventType": "file.read", "n": "1"}]


def test_the_other_statistics(query):
    (row,) = query(
        "stats count_distinct(user.id) as users, min(ms), max(ms) as most, sum(ms) as total, avg(ok)"
    )
    assert row == {"users": "2", "min(ms)": "9", "most": "100", "total": "119", "avg(ok)": "0.5"}


def test_repeats_are_left_out_by_dedup(query):
    assert [row["ms"] for row in query("fields ms | sort ms | dedup user.id")] == ["9", "10"]


def test_only_the_queried_time_counts(query, clock):
    assert query("fields ms", startTime=int(clock.seconds) + 1, endTime=int(clock.seconds) + 9) == []


@pytest.mark.parametrize("way", ["logGroupNames", "logGroupIdentifiers"])
def test_several_groups_are_queried_together(way, query, logs):
    logs.create_log_group(logGroupName="/other")
    time = {"startTime": 0, "endTime": 2_000_000_000}
    query_id = logs.start_query(**{way: ["/q", "/other"]}, **time, queryString="stats count(*) as n")[
        "queryId"
    ]
    logs.get_query_results(queryId=query_id)
    assert logs.get_query_results(queryId=query_id)["results"] == [[{"field": "n", "value": "3"}]]


@pytest.mark.parametrize(
    "text", ["", "frobnicate x", "filter ms >", "stats median(ms)", "sort ms up", "limit x"]
)
def test_what_is_no_query_is_refused(text, query, logs, refused):
    given = {"logGroupName": "/q", "startTime": 0, "endTime": 1, "queryString": text}
    assert refused(logs.start_query, **given)[0] == "MalformedQueryException"


def test_a_missing_group_and_a_missing_query_are_not_found(logs, refused):
    given = {"logGroupName": "/none", "startTime": 0, "endTime": 1, "queryString": "fields a"}
    assert refused(logs.start_query, **given)[0] == "ResourceNotFoundException"
    assert refused(logs.get_query_results, queryId="none")[0] == "ResourceNotFoundException"


def test_a_stopped_query_is_cancelled(query, logs, refused):
    given = {"logGroupName": "/q", "startTime": 0, "endTime": 2_000_000_000, "queryString": "fields a"}
    query_id = logs.start_query(**given)["queryId"]
    assert logs.stop_query(queryId=query_id)["success"] is True
    assert logs.get_query_results(queryId=query_id)["status"] == "Cancelled"
    assert refused(logs.stop_query, queryId=query_id)[0] == "InvalidParameterException"
