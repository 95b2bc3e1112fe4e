"""Progress behaves like a plain set of finished sequence numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditflow.ledger import Progress

starts = st.integers(1, 10**12)
steps = st.lists(st.tuples(st.integers(-30, 200), st.integers(0, 90)), max_size=40)


def model(low: int, finished: set[int]) -> int:
    while low in finished:
        low += 1
    return low


@given(starts, steps)
def test_it_knows_what_a_set_would_know(start: int, marks: list[tuple[int, int]]):
    progress, finished = Progress(start), set()
    for offset, count in marks:
        progress.finish(start + offset, count)
        finished.update(number for number in range(start + offset, start + offset + count) if number >= start)
        low = model(start, finished)
        assert progress.low == low
        assert progress.beyond() == len([number for number in finished if number >= low])
        assert progress.end() == max(finished, default=start - 1) + 1
    for number in range(start - 40, start + 310):
        assert progress.finished(number) == (number < start or number in finished)


@given(starts, steps, st.randoms())
def test_the_order_of_finishing_does_not_matter(start: int, marks: list[tuple[int, int]], chance):
    one, other = Progress(start), Progress(start)
    for offset, count in marks:
        one.finish(start + offset, count)
    chance.shuffle(marks)
    for offset, count in marks:
        other.finish(start + offset, count)
    assert one == other


@given(starts, steps)
def test_it_survives_being_written_down(start: int, marks: list[tuple[int, int]]):
    progress = Progress(start)
    for offset, count in marks:
        progress.finish(start + offset, count)
    stored = progress.done.to_bytes((progress.done.bit_length() + 7) // 8, "little")
    assert Progress(progress.low, int.from_bytes(stored, "little")) == progress


@given(starts, st.integers(0, 2**80))
def test_low_never_stands_on_a_finished_event(start: int, done: int):
    progress = Progress(start, done)
    assert not progress.finished(progress.low)
    assert progress.low + progress.beyond() == start + done.bit_count()


def test_a_copy_goes_its_own_way():
    progress = Progress(1)
    copy = progress.copy()
    progress.finish(1)
    assert (progress.low, copy.low) == (2, 1)
    assert progress != copy
    assert repr(Progress(3, 0b110)) == "Progress(3, 0b110)"
