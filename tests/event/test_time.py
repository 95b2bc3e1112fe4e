import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.event import time as event_time_module
from auditflow.event.time import MET, epoch_ms, event_time, utc_times

NOW = 1_800_000_000_000
BASE = 1_767_323_045_000  # 2026-01-02T03:04:05Z


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone comes below
    st.integers(-23 * 60, 23 * 60),
)
def test_any_moment_in_any_zone_is_read_to_the_millisecond(moment, offset):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    exact = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert epoch_ms(aware.isoformat()) == exact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", BASE),
        ("2026-01-02t03:04:05z", BASE),
        ("2026-01-02 03:04:05.5Z", BASE + 500),
        ("2026-01-02T03:04:05.123456789Z", BASE + 123),
        ("2026-01-02T04:04:05+01:00", BASE),
        ("2026-01-01T21:34:05-05:30", BASE),
        ("2026-01-02T03:04:60Z", BASE + 55_000),
    ],
)
def test_rfc_3339_is_read_in_all_its_forms(text, expected):
    assert epoch_ms(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02T25:04:05Z",
     "2026-01-02T03:04:61Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05+99:99", "٢٠٢٦-01-02T03:04:05Z"],
)  # fmt: skip
def test_anything_else_is_no_time(text):
    with pytest.raises(ValueError, match=r".*"):
        epoch_ms(text)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"eventTime": "2026-01-02T03:04:05Z", "timestamp": "2026-02-02T03:04:05Z"}, BASE),
        ({"timestamp": "2026-01-02T03:04:05Z"}, BASE),
        ({"eventTime": None, "timestamp": "2026-01-02T03:04:05Z"}, BASE),
        ({"eventTime": "soon", "timestamp": "2026-01-02T03:04:05Z"}, BASE),
        ({"eventTime": 17, "timestamp": "2026-01-02T03:04:05Z"}, BASE),
        ({"eventTime": "2026-01-02T03:04:05Z", "timestamp": {"a": 1}}, BASE),
        ({"eventTime": "soon", "timestamp": "later"}, NOW),
        ({"other": 1}, NOW),
        (["eventTime"], NOW),
    ],
)
def test_the_first_field_that_is_a_time_counts(fields, expected):
    assert event_time(json.dumps(fields).encode(), NOW) == expected


@pytest.mark.parametrize("event", [b"", b"{", b"\xff\xfe", b'{"eventTime": "\xff"}'])
def test_what_is_no_event_happened_now(event):
    assert event_time(event, NOW) == NOW


forms = st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.5z", "2026-01-02 03:04:60.123456789+05:30",
                         "0001-01-01T00:00:00+10:00", "2026-01-02T03:04:05.678-23:59"])  # fmt: skip
no_times = st.sampled_from(["2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05+0000", "2026-02-30T03:04:05Z",
                            "0000-01-01T00:00:00Z", "٢٠٢٦-01-02T03:04:05Z", "", "2026-01-02T03:04:05.Z"])  # fmt: skip


@given(st.lists(forms, min_size=1))
def test_many_times_are_read_as_one_is(texts):
    assert utc_times(texts) == [epoch_ms(text) for text in texts]


@given(st.lists(forms), no_times)
def test_one_that_is_none_is_noticed_among_many(texts, odd):
    assert utc_times([*texts, odd]) is None


def test_what_is_remembered_of_times_is_bounded():
    assert utc_times([f"2026-01-02T03:04:05.{n:06}Z" for n in range(2 * MET)]) is not None
    assert len(event_time_module._rest) <= MET
