import pytest

MIB = 1_048_576
DAY = 86_400_000
HOUR = 3_600_000


@pytest.fixture
def put(logs, stream, clock):
    """Put messages, or (offset from now in ms, message) pairs."""

    def call(*events):
        pairs = [(0, each) if isinstance(each, str) else each for each in events]
        batch = [{"timestamp": clock.ms + offset, "message": message} for offset, message in pairs]
        return logs.put_log_events(**stream, logEvents=batch)

    return call


def test_a_message_is_stored_as_it_arrived(put, cloud, logs, stream):
    messages = ['{"a": 1}', "пример", "😀", "lone \ud83d surrogate \udc00", "\x00\t\n ", "  "]
    put(*messages)
    assert [record.message for record in cloud.events("/audit")] == messages
    read = logs.get_log_events(**stream, startFromHead=True)["events"]
    assert [event["message"] for event in read] == messages


def test_a_stored_record_knows_its_times_and_stream(put, cloud, clock):
    put((-5, "m"))
    (record,) = cloud.events("/audit", "app")
    assert (record.timestamp, record.ingestion_time, record.stream) == (clock.ms - 5, clock.ms, "app")


def test_a_sequence_token_is_given_and_ignored(put, logs, stream, clock):
    assert put("m")["nextSequenceToken"]
    event = {"timestamp": clock.ms, "message": "m"}
    assert logs.put_log_events(**stream, logEvents=[event], sequenceToken="stale")["nextSequenceToken"]


def test_ten_thousand_events_are_taken_and_one_more_is_not(put, cloud, refused):
    put(*["m"] * 10_000)
    assert refused(put_many(put, 10_001))[0] == "InvalidParameterException"
    assert len(cloud.events("/audit")) == 10_000


def put_many(put, count):
    return lambda: put(*["m"] * count)


def test_an_empty_batch_and_an_empty_message_are_refused(put, refused):
    assert refused(put)[0] == "InvalidParameterException"
    assert refused(lambda: put("ok", ""))[0] == "InvalidParameterException"


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_a_batch_of_exactly_one_mebibyte_is_taken_and_one_byte_more_is_not(letter, put, cloud, refused):
    size = len(letter.encode())
    half = letter * ((MIB // 2 - 26) // size)
    rest = MIB - 2 * 26 - len(half.encode())
    fitting = letter * (rest // size) + "." * (rest % size)
    put(half, fitting)
    assert cloud.requests[-1].bytes == MIB
    code, message = refused(lambda: put(half, fitting + "."))
    assert code == "InvalidParameterException"
    assert message == f"Upload too large: {MIB + 1} bytes exceeds limit of {MIB}"


def test_the_largest_event_is_taken_and_one_byte_more_is_not(put, refused):
    put("x" * (MIB - 26))
    code, message = refused(lambda: put("x" * (MIB - 25)))
    assert code == "InvalidParameterException"
    assert message == f"Log event too large: {MIB + 1} bytes exceeds limit of {MIB}"


def test_events_out_of_order_are_refused_and_equal_times_are_not(put, refused):
    put((0, "a"), (0, "b"))
    code, message = refused(lambda: put((1, "a"), (0, "b")))
    assert code == "InvalidParameterException"
    assert "chronological order" in message


def test_a_span_of_24_hours_is_taken_and_a_millisecond_more_is_not(put, refused):
    put((-DAY, "a"), (0, "b"))
    code, message = refused(lambda: put((-DAY - 1, "a"), (0, "b")))
    assert code == "InvalidParameterException"
    assert "cannot span more than 24 hours" in message


def test_the_span_is_that_of_the_valid_events(put, cloud):
    answer = put((-15 * DAY, "old"), (0, "good"), (3 * HOUR, "new"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    assert [record.message for record in cloud.events("/audit")] == ["good"]
    assert (cloud.requests[-1].events, cloud.requests[-1].stored) == (3, 1)


def test_fourteen_days_old_is_taken_and_a_millisecond_older_is_rejected(put, cloud):
    assert "rejectedLogEventsInfo" not in put((-14 * DAY, "edge"))
    assert put((-14 * DAY - 1, "old"))["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert [record.message for record in cloud.events("/audit")] == ["edge"]


def test_two_hours_ahead_is_taken_and_a_millisecond_more_is_rejected(put, cloud):
    answer = put((2 * HOUR, "edge"), (2 * HOUR + 1, "new"), (2 * HOUR + 1, "new"))
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert [record.message for record in cloud.events("/audit")] == ["edge"]


def test_what_is_older_than_the_retention_is_rejected_as_expired(put, logs, cloud):
    logs.put_retention_policy(logGroupName="/audit", retentionInDays=3)
    answer = put((-3 * DAY - 2, "x"), (-3 * DAY - 1, "x"), (-3 * DAY, "edge"))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 2}
    assert [record.message for record in cloud.events("/audit")] == ["edge"]
    answer = put((-20 * DAY, "x"), (-4 * DAY, "x"), (0, "good"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}


def test_a_longer_retention_does_not_let_older_events_in(put, logs):
    logs.put_retention_policy(logGroupName="/audit", retentionInDays=365)
    assert put((-15 * DAY, "x"))["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}


def test_a_batch_may_be_rejected_as_a_whole(put, cloud):
    assert put((-15 * DAY, "x"), (-14 * DAY - 1, "x"))["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 2
    }
    assert put((3 * HOUR, "x"))["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}
    assert cloud.events("/audit") == []


def test_moving_the_clock_moves_the_window(put, clock):
    at = clock.ms + 3 * HOUR
    assert "rejectedLogEventsInfo" in put((at - clock.ms, "x"))
    clock.seconds += 3600
    assert "rejectedLogEventsInfo" not in put((at - clock.ms, "x"))


def test_a_missing_group_and_a_missing_stream_are_told_apart(logs, stream, clock, refused):
    batch = [{"timestamp": clock.ms, "message": "m"}]
    call = logs.put_log_events
    assert refused(call, logGroupName="/none", logStreamName="app", logEvents=batch) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    assert refused(call, logGroupName="/audit", logStreamName="none", logEvents=batch) == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )


def test_records_of_several_batches_are_read_in_order_of_time(put, cloud):
    put((5, "late"))
    put((1, "early"), (5, "later"))
    assert [record.message for record in cloud.events("/audit")] == ["early", "late", "later"]


def test_a_stream_is_read_from_its_tail_unless_asked_otherwise(put, logs, stream):
    put(*((i, str(i)) for i in range(5)))
    read = logs.get_log_events
    assert [event["message"] for event in read(**stream, limit=2)["events"]] == ["3", "4"]
    assert [event["message"] for event in read(**stream, limit=2, startFromHead=True)["events"]] == ["0", "1"]


def test_forward_tokens_lead_to_the_end_and_then_repeat(put, logs, stream):
    put(*((i, str(i)) for i in range(5)))
    seen, token = [], {}
    while True:
        page = logs.get_log_events(**stream, limit=2, startFromHead=True, **token)
        if token.get("nextToken") == page["nextForwardToken"]:
            break
        seen += [event["message"] for event in page["events"]]
        token = {"nextToken": page["nextForwardToken"]}
    assert seen == ["0", "1", "2", "3", "4"]
    put((9, "new"))
    assert logs.get_log_events(**stream, startFromHead=True, **token)["events"][0]["message"] == "new"


def test_backward_tokens_lead_to_the_beginning(put, logs, stream):
    put(*((i, str(i)) for i in range(5)))
    page = logs.get_log_events(**stream, limit=3)
    page = logs.get_log_events(**stream, limit=3, nextToken=page["nextBackwardToken"])
    assert [event["message"] for event in page["events"]] == ["0", "1"]
    last = logs.get_log_events(**stream, nextToken=page["nextBackwardToken"])
    assert (last["events"], last["nextBackwardToken"]) == ([], page["nextBackwardToken"])


def test_the_start_time_is_inclusive_and_the_end_time_exclusive(put, logs, stream, clock):
    put((0, "a"), (1, "b"), (2, "c"))
    found = logs.get_log_events(**stream, startTime=clock.ms + 1, endTime=clock.ms + 2)["events"]
    assert [event["message"] for event in found] == ["b"]


def test_a_page_holds_at_most_one_mebibyte(put, logs, stream):
    for _ in range(3):
        put("x" * 500_000)
    assert len(logs.get_log_events(**stream, startFromHead=True)["events"]) == 2


def test_a_group_is_also_found_by_its_arn(put, logs):
    put("m")
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:/audit"
    for identifier in ("/audit", arn):
        assert logs.get_log_events(logGroupIdentifier=identifier, logStreamName="app")["events"]


def test_a_made_up_token_is_refused(put, logs, stream, refused):
    assert refused(logs.get_log_events, **stream, nextToken="x/1")[0] == "InvalidParameterException"
