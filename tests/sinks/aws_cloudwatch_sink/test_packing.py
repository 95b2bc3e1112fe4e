from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.sinks.aws_cloudwatch_sink.packing import MAX_BYTES, MAX_EVENTS, MAX_SPAN, OVERHEAD, pack

HOUR = 3600 * 1000


@st.composite
def batches(draw):
    times = draw(st.lists(st.integers(0, 60).map(lambda hours: hours * HOUR), max_size=40))
    sizes = draw(st.lists(st.integers(27, 400), min_size=len(times), max_size=len(times)))
    return times, sizes, draw(st.integers(1, 12)), draw(st.integers(27, 1000))


def fewest(times, sizes, max_events, max_bytes):
    """Divide the sorted events in every possible way, and count the parts of the best one."""
    order = sorted(range(len(times)), key=lambda at: times[at])
    best = [0] + [len(order)] * len(order)
    for end in range(1, len(order) + 1):
        for start in range(end):
            part = order[start:end]
            alone = len(part) == 1
            fits = len(part) <= max_events and sum(sizes[at] for at in part) <= max_bytes
            if alone or (fits and times[part[-1]] - times[part[0]] <= MAX_SPAN):
                best[end] = min(best[end], best[start] + 1)
    return best[-1]


@given(batches())
def test_every_limit_holds_and_no_event_is_lost_or_repeated(batch):
    times, sizes, max_events, max_bytes = batch
    requests = pack(range(len(times)), times, sizes, max_events, max_bytes)
    assert sorted(chain(*requests)) == list(range(len(times)))
    for request in requests:
        moments = [times[at] for at in request]
        assert moments == sorted(moments)
        assert moments[-1] - moments[0] <= MAX_SPAN
        assert len(request) <= max_events
        assert len(request) == 1 or sum(sizes[at] for at in request) <= max_bytes


@given(batches())
def test_requests_are_as_few_as_the_order_allows(batch):
    times, sizes, max_events, max_bytes = batch
    assert len(pack(range(len(times)), times, sizes, max_events, max_bytes)) == fewest(
        times, sizes, max_events, max_bytes
    )


@given(batches())
def test_events_of_the_same_moment_keep_their_order(batch):
    times, sizes, max_events, max_bytes = batch
    order = list(chain(*pack(range(len(times)), times, sizes, max_events, max_bytes)))
    assert order == sorted(order, key=lambda at: (times[at], at))


@pytest.mark.parametrize(
    ("count", "size", "requests"),
    [
        (MAX_EVENTS, 30, [MAX_EVENTS]),
        (MAX_EVENTS + 1, 30, [MAX_EVENTS, 1]),
        (4, MAX_BYTES // 4, [4]),
        (4, MAX_BYTES // 4 + 1, [3, 1]),
        (2, MAX_BYTES, [1, 1]),
        (0, 0, []),
    ],
)
def test_a_request_is_filled_to_the_last_event_and_byte(count, size, requests):
    assert [len(request) for request in pack(range(count), [0] * count, [size] * count)] == requests


def test_a_request_spans_exactly_a_day():
    assert pack(range(3), [0, MAX_SPAN, MAX_SPAN + 1], [30] * 3) == [[0, 1], [2]]


def test_positions_left_out_are_in_no_request():
    assert pack([2, 0], [5, 1, 3], [30, MAX_BYTES * 2, 30]) == [[2, 0]]


def test_small_audit_events_fill_a_request_to_the_brim():
    size = 240 + OVERHEAD
    assert len(pack(range(3942), [0] * 3942, [size] * 3942)) == 1  # 3942 * 266 = 1,048,572
