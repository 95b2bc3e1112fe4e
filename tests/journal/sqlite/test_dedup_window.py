"""The memory of deduplication: no misses inside the window, bounded, in slices."""

from __future__ import annotations

import pytest

from auditflow.journal.sqlite import dedup_window as dedup
from auditflow.journal.sqlite.dedup_window import Window


def keys(start: int, count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + count)]


def test_nothing_inside_the_window_is_missed_and_strangers_are_not_suspected():
    window = Window(1000)
    for number in range(20):
        window.add(keys(number * 500, 500), 1 + number * 500, number * 10)
    assert window.seen(keys(0, 10_000)) == set(keys(0, 10_000))
    assert len(window.seen(keys(10_000, 10_000))) < 10


def test_slices_leave_when_the_window_has_passed():
    window = Window(1000)
    for at in range(0, 3000, 50):
        window.expire(at)
        window.add(keys(at, 50), 1 + at, at)
        assert len(list(window.spans())) <= dedup.SLICES + 2
        assert window.seen(keys(max(at - 1000, 0), 1)) == set(keys(max(at - 1000, 0), 1))
    assert window.seen(keys(0, 1500)) == set()


def test_filters_grow_inside_a_slice_and_cover_their_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dedup, "SMALLEST", 100)
    monkeypatch.setattr(dedup, "LARGEST", 1000)
    window = Window(10**9)
    for number in range(100):
        window.add(keys(number * 50, 50), 1 + number * 50, 7)
    spans = list(window.spans())
    assert [span.capacity for span in reversed(spans)][:6] == [100, 200, 400, 800, 1000, 1000]
    assert all(span.end - span.first <= span.capacity for span in spans)
    assert [span.first for span in spans[:-1]] == [span.end for span in spans[1:]]
    assert (spans[-1].first, spans[0].end) == (1, 5001)


def test_the_newest_ids_are_known_exactly_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dedup, "RECENT", 100)
    window = Window(1000)
    for number in range(100):
        window.add(keys(number * 10, 10), 1 + number * 10, number)
    assert [window.recent(key) for key in keys(900, 100)] == list(range(901, 1001))
    assert window.recent(keys(0, 1)[0]) is None
    assert len(window._recent) + len(window._former) <= 220


def test_a_clock_that_goes_back_forgets_nothing():
    window = Window(1000)
    window.add(keys(0, 5), 1, 10_000)
    window.add(keys(5, 5), 6, 2_000)
    window.expire(10_500)
    assert window.seen(keys(0, 5)) == set(keys(0, 5))
