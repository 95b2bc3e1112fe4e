import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.sinks.aws_cloudwatch_sink.request import NotUtf8Error, body, check, refusals


@given(st.lists(st.tuples(st.integers(0, 2**53), st.text(min_size=1)), max_size=20), st.text(min_size=1))
def test_the_body_gives_back_exactly_the_messages(events, stream):
    times, messages = [at for at, _ in events], [text.encode() for _, text in events]
    assert json.loads(body("/aws/x", stream, times, messages)) == {
        "logGroupName": "/aws/x",
        "logStreamName": stream,
        "logEvents": [{"timestamp": at, "message": text} for at, text in events],
    }


def test_escapes_inside_an_event_survive_as_they_were_written():
    message = (
        rb'{"lone":"\ud800","control":"\u0000","slash":"\/","text":"' + "日本 \u2028 \x7f".encode() + b'"}'
    )
    sent = json.loads(body("g", "s", [1], [message]))
    assert sent["logEvents"][0]["message"].encode() == message


def test_text_is_not_inflated_on_the_wire():
    assert "日本" * 100 in body("g", "s", [1], [("日本" * 100).encode()]).decode()


def test_a_message_that_is_no_utf_8_is_refused():
    with pytest.raises(NotUtf8Error):
        body("g", "s", [1, 2], [b"{}", b"\xff"])


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, {}),
        ({"tooOldLogEventEndIndex": 2}, {0: "TOO_OLD", 1: "TOO_OLD"}),
        ({"tooNewLogEventStartIndex": 3}, {3: "TOO_NEW", 4: "TOO_NEW"}),
        ({"expiredLogEventEndIndex": 1}, {0: "EXPIRED"}),
        (
            {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4},
            {0: "TOO_OLD", 1: "EXPIRED", 4: "TOO_NEW"},
        ),
        ({"tooOldLogEventEndIndex": 99}, dict.fromkeys(range(5), "TOO_OLD")),
    ],
)
def test_end_indexes_are_exclusive_and_the_start_index_is_inclusive(info, expected):
    assert refusals({"rejectedLogEventsInfo": info}, 5) == expected


def test_an_answer_without_rejections_refuses_nothing():
    assert refusals({"nextSequenceToken": "x"}, 3) == {}


@pytest.mark.parametrize("page", [b"", b"<html>Sign in</html>", b"[]", b'{"nextSeq'])
def test_a_page_of_a_proxy_is_no_answer(page):
    with pytest.raises(msgspec.DecodeError):
        check(page)


def test_an_empty_object_is_an_answer():
    assert check(b"{}") is None
