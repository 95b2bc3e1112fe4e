"""Batches are filled up to a sink's limits, exactly and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditflow.pipelines.decide.decision import Decided
from auditflow.pipelines.deliver.batch import Batch, Batcher
from auditflow.sinks._base import BatchLimits


def packed(sizes: list[int], limits: BatchLimits, chunk: int = 1000) -> list[Batch]:
    batcher = Batcher(limits)
    events = [b"x" * size for size in sizes]
    batches = []
    for start in range(0, len(events), chunk):
        part = events[start : start + chunk]
        batches += batcher.add(
            Decided(range(start, start + len(part)), part, part, range(start, start + len(part))), 1
        )
    last = batcher.take()
    return [*batches, last] if len(last) else batches


@given(
    st.lists(st.integers(1, 120), max_size=60),
    st.integers(1, 12),
    st.integers(10, 200),
    st.integers(0, 30),
    st.integers(1, 17),
)
def test_every_limit_holds_and_no_batch_could_have_taken_the_next_event(sizes, most, room, overhead, chunk):
    limits = BatchLimits(events=most, bytes=room, overhead=overhead)
    batches = packed(sizes, limits, chunk)
    assert [s for batch in batches for s in batch.sequences] == list(range(len(sizes)))
    assert [time for batch in batches for time in batch.load.times] == list(range(len(sizes)))
    weights = [sum(len(e) + overhead for e in batch.events) for batch in batches]
    for index, batch in enumerate(batches):
        assert len(batch) <= most
        assert weights[index] <= room or len(batch) == 1
        if index + 1 < len(batches):
            following = len(batches[index + 1].events[0]) + overhead
            assert len(batch) == most or weights[index] + following > room


def test_a_batch_of_some_events_keeps_their_history():
    batch = Batch(
        [7, 8, 9], [b"a", b"b", b"c"], [b"A", b"B", b"C"], [4, 5, 6], [1, 2, 3], attempts=4, first_failed=5
    )
    rest = batch.only([0, 2])
    assert (rest.sequences, rest.originals, rest.events, rest.accepted_at) == (
        [7, 9],
        [b"a", b"c"],
        [b"A", b"C"],
        [1, 3],
    )
    assert rest.load.times == [4, 6]
    assert (rest.attempts, rest.first_failed) == (4, 5)
