import json
import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.event.parts import join_parts
from auditflow.sinks._base import DELIVERED, Outcome, Verdict
from auditflow.sinks.aws_cloudwatch_sink.packing import MAX_BYTES, MAX_EVENT_BYTES, MAX_SPAN
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.shaping import Shaper, outcomes_of

NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
RETRY = Outcome(Verdict.RETRY, "ThrottlingException")
REJECTED = Outcome(Verdict.REJECTED, "InvalidParameterException")
BLOCKED = Outcome(Verdict.BLOCKED, "AccessDeniedException")


def shaper(**more):
    names = {name.replace("_", "-"): value for name, value in more.items()}
    return Shaper(CloudWatchProperties.model_validate({"log-group": "/x", **names}))


def at(moment, **fields):
    seconds, millis = divmod(moment, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03}Z"
    return json.dumps({"eventTime": text, **fields}).encode()


def test_the_time_of_delivery_is_used_without_reading_the_events():
    shaped = shaper(timestamp="delivery").shape([at(NOW - DAY), b"\xff", b"[]"], NOW)
    assert shaped.times == [NOW] * 3


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        (NOW - 14 * DAY, ""),
        (NOW - 14 * DAY - 1, "TOO_OLD"),
        (NOW + 2 * HOUR, ""),
        (NOW + 2 * HOUR + 1, "TOO_NEW"),
        (NOW, ""),
        (0, "TOO_OLD"),
    ],
)
def test_the_window_has_sharp_edges_where_events_outside_are_refused(moment, code):
    shaped = shaper(out_of_window="dead-letter").shape([at(NOW), at(moment)], NOW)
    assert {i: outcome.code for i, outcome in shaped.refused.items()} == ({1: code} if code else {})
    assert shaped.streams == {("/x", "auditflow"): [0] if code else [0, 1]}
    assert shaped.times[1] == moment


def test_an_event_without_a_time_is_never_outside():
    assert shaper(out_of_window="dead-letter").shape([b"{}", b"\xff"], NOW).refused == {}


@pytest.mark.parametrize(
    ("size", "parts"), [(MAX_EVENT_BYTES, 0), (MAX_EVENT_BYTES + 1, 2), (3 * MAX_BYTES, 4)]
)
def test_an_event_over_the_limit_is_divided_and_no_other(size, parts):
    event = json.dumps({"eventId": "e", "text": ""}).encode()
    event = event.replace(b'""', b'"' + b"x" * (size - len(event)) + b'"')
    shaped = shaper().shape([b"{}", event, b"{}"], NOW)
    assert len(shaped.parts.get(1, ())) == parts
    positions = shaped.streams["/x", "auditflow"]
    assert positions == ([0, *shaped.parts[1], 2] if parts else [0, 1, 2])
    assert all(len(shaped.messages[p]) <= MAX_EVENT_BYTES for p in positions)
    if parts:
        assert join_parts(shaped.messages[p] for p in shaped.parts[1]) == event


def test_parts_keep_their_order_and_the_time_of_their_event_among_others():
    large = at(NOW - HOUR, pad="x" * 2 * MAX_BYTES)
    events = [at(NOW), at(NOW - HOUR, n=1), large, at(NOW - HOUR, n=3)]
    making = shaper()
    shaped = making.shape(events, NOW)
    order = list(chain(*making.requests(shaped, ("/x", "auditflow"))))
    assert order == [1, *shaped.parts[2], 3, 0]
    assert {shaped.times[p] for p in shaped.parts[2]} == {NOW - HOUR}


def test_an_event_over_the_limit_that_cannot_be_divided_is_refused():
    large = b"x" * MAX_BYTES
    assert shaper(oversize="dead-letter").shape([large], NOW).refused[0].code == "EVENT_TOO_LARGE"
    assert shaper().shape([large + b"\xff"], NOW).refused[0].verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("parts", "verdict", "ambiguous"),
    [
        ([DELIVERED, DELIVERED], Verdict.DELIVERED, False),
        ([DELIVERED, RETRY], Verdict.RETRY, True),
        ([RETRY, RETRY], Verdict.RETRY, False),
        ([DELIVERED, BLOCKED], Verdict.BLOCKED, True),
        ([RETRY, REJECTED], Verdict.REJECTED, False),
    ],
)
def test_an_event_is_delivered_when_all_its_parts_are(parts, verdict, ambiguous):
    shaped = shaper().shape([b"{}", b"x" * (MAX_BYTES + 1), b"{}"], NOW)
    assert list(shaped.parts[1]) == [3, 4]
    outcomes = outcomes_of(shaped, [DELIVERED, RETRY, DELIVERED, *parts], 3)
    assert [o.verdict for o in outcomes] == [Verdict.DELIVERED, verdict, Verdict.DELIVERED]
    assert outcomes[1].ambiguous is ambiguous


@st.composite
def batches(draw):
    sizes = draw(st.lists(st.integers(0, 500), max_size=30))
    text = draw(st.sampled_from(["x", "日", "🎉", "\x01", "\\ud800"]))
    return [
        at(NOW - draw(st.integers(0, 40)) * HOUR, t=draw(st.sampled_from("abc")), n=n, text=text * size)
        for n, size in enumerate(sizes)
    ]


@given(batches(), st.integers(1, 10), st.integers(600, 5000))
def test_each_stream_is_packed_for_itself_within_every_limit(events, most, most_bytes):
    making = shaper(
        log_group="/x/{{ t }}", log_stream="{{ t }}", max_batch_events=most, max_batch_bytes=most_bytes
    )
    shaped = making.shape(events, NOW)
    packed = []
    for stream in shaped.streams:
        for request in making.requests(shaped, stream):
            packed += request
            sizes = [len(shaped.messages[p]) + 26 for p in request]
            moments = [shaped.times[p] for p in request]
            assert {f"/x/{json.loads(events[p])['t']}" for p in request} == {stream[0]}
            assert len(request) <= most
            assert len(request) == 1 or sum(sizes) <= most_bytes
            assert moments == sorted(moments)
            assert moments[-1] - moments[0] <= MAX_SPAN
    assert sorted(packed) == list(range(len(events)))


@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from("ab") | st.text(max_size=3), inner, max_size=3)
            ),
        ).map(lambda value: json.dumps({"a": value, "eventTime": value}).encode()),
        st.sampled_from(
            [
                b'{"a":' + b"[" * 50_000,
                b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
                rb'{"a":"\x41"}',
                rb'{"a":"\ud800"}',
            ]
        ),
    )
)
def test_whatever_an_event_is_it_has_a_place_and_a_time(event):
    making = shaper(log_group="/x/{{ a.b[0]:-none }}", log_stream="{{ a }}")
    shaped = making.shape([event], NOW)
    ((group, stream),) = shaped.streams
    assert group.startswith("/x/")
    assert 1 <= len(stream) <= 512
    assert abs(shaped.times[0] - NOW) <= 14 * DAY
