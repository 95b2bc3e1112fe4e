"""Parcels are filled up to a sink's limits, exactly and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditflow.pipelines.decide.decision import Decided
from auditflow.pipelines.deliver.batch import Packer, Parcel
from auditflow.sinks._base import BatchLimits


def packed(sizes: list[int], limits: BatchLimits, chunk: int = 1000) -> list[Parcel]:
    packer = Packer(limits)
    events = [b"x" * size for size in sizes]
    parcels = []
    for start in range(0, len(events), chunk):
        part = events[start : start + chunk]
        parcels += packer.add(
            Decided(range(start, start + len(part)), part, part, range(start, start + len(part))), 1
        )
    last = packer.take()
    return [*parcels, last] if len(last) else parcels


@given(
    st.lists(st.integers(1, 120), max_size=60),
    st.integers(1, 12),
    st.integers(10, 200),
    st.integers(0, 30),
    st.integers(1, 17),
)
def test_every_limit_holds_and_no_parcel_could_have_taken_the_next_event(sizes, most, room, overhead, chunk):
    limits = BatchLimits(events=most, bytes=room, overhead=overhead)
    parcels = packed(sizes, limits, chunk)
    assert [s for parcel in parcels for s in parcel.sequences] == list(range(len(sizes)))
    assert [time for parcel in parcels for time in parcel.load.times] == list(range(len(sizes)))
    weights = [sum(len(e) + overhead for e in parcel.events) for parcel in parcels]
    for index, parcel in enumerate(parcels):
        assert len(parcel) <= most
        assert weights[index] <= room or len(parcel) == 1
        if index + 1 < len(parcels):
            following = len(parcels[index + 1].events[0]) + overhead
            assert len(parcel) == most or weights[index] + following > room


def test_a_parcel_of_some_events_keeps_their_history():
    parcel = Parcel(
        [7, 8, 9], [b"a", b"b", b"c"], [b"A", b"B", b"C"], [4, 5, 6], [1, 2, 3], attempts=4, first_failed=5
    )
    rest = parcel.only([0, 2])
    assert (rest.sequences, rest.originals, rest.events, rest.accepted_at) == (
        [7, 9],
        [b"a", b"c"],
        [b"A", b"C"],
        [1, 3],
    )
    assert rest.load.times == [4, 6]
    assert (rest.attempts, rest.first_failed) == (4, 5)
