"""A block's row says when it is not what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.journal.block_format import MAX_BYTES, MAX_EVENTS, Row, cut, decode, encode, gap

lines = st.lists(st.binary(min_size=1).map(lambda text: text.replace(b"\n", b"")), min_size=1)


@given(lines, st.integers(1, 2**60), st.integers(0, 2**50), st.integers(-(2**50), 2**50))
def test_what_is_encoded_is_decoded(events: list[bytes], first: int, at: int, time: int):
    tenants = [f"t{len(event) % 3}" for event in events]
    times = [time + len(event) for event in events]
    block = decode(encode(first, events, tenants, times, at), None)
    assert (block.first, block.count, block.appended_at, block.damage) == (first, len(events), at, "")
    assert list(block.events) == events
    assert list(block.times) == times
    assert dict(block.tenants) == {tenant: tenants.count(tenant) for tenant in set(tenants)}
    names = list(block.tenants)
    assert [names[owner] for owner in block.owners] == (tenants if len(names) > 1 else [])


@pytest.mark.parametrize("column", Row._fields)
@pytest.mark.parametrize("value", [None, "text", b"bytes", 7, -1, 2.5, 2**62])
def test_no_column_can_change_unnoticed(column: str, value: object):
    row = encode(100, [b'{"a":1}', b'{"a":2}'], ["acme", "globex"], [7, 8], 5)
    changed = row._replace(**{column: value})
    block = decode(changed, 102)
    assert not changed.sound()
    assert block is None or (block.damage and not block.events and block.count > 0 and block.end <= 102)


def test_the_border_between_columns_is_guarded():
    row = encode(1, [b"{}"], ["acme"], [7], 5)
    assert not row._replace(tenants=row.tenants + row.payload[:1], payload=row.payload[1:]).sound()


def test_a_damaged_payload_leaves_place_and_tenants():
    row = encode(100, [b"1", b"2"], ["acme", "acme"], [7, 8], 5)
    block = decode(row._replace(payload=b"\0" + row.payload[1:]), 102)
    assert (block.first, block.count, block.appended_at, dict(block.tenants)) == (100, 2, 5, {"acme": 2})
    assert "checksum" in block.damage


def test_a_gap_stands_for_lost_events():
    block = decode(gap(5, 50, 9), None)
    assert (block.first, block.end, list(block.events)) == (5, 50, [])
    assert "lost" in block.damage


def test_an_event_of_two_lines_is_refused():
    with pytest.raises(ValueError, match="one line"):
        encode(1, [b"a\nb"], ["acme"], [7], 5)


@given(
    st.lists(
        st.sampled_from([1, 1000, MAX_BYTES // 3, MAX_BYTES // 2, MAX_BYTES, 2 * MAX_BYTES]),
        min_size=1,
        max_size=30,
    )
)
def test_events_are_cut_into_bounded_runs_without_loss(sizes: list[int]):
    class Event(bytes):
        __slots__ = ()

        def __len__(self) -> int:
            return int(self.decode())

    events = [Event(str(size).encode()) for size in sizes]
    parts = list(cut(events))
    assert [event for part in parts for event in events[part]] == events
    for part in parts:
        run = events[part]
        assert run
        assert len(run) == 1 or sum(map(len, run)) <= MAX_BYTES


def test_many_small_events_are_cut_by_number():
    assert [part.stop - part.start for part in cut([b"x"] * 25_000)] == [MAX_EVENTS, MAX_EVENTS, 5_000]
