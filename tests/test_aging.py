"""A clock that is wrong for a moment makes nothing old."""

import pytest

from auditflow.aging import BELIEVED_SECONDS, AgingClock

DAY = 86_400.0


class Time:
    """A wall clock and a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_800_000_000.0, 5.0
        self.aging = AgingClock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, seconds: float, *, jump: float = 0.0) -> float:
        self.wall += seconds + jump
        self.monotonic += seconds
        return self.aging()


@pytest.fixture
def time() -> Time:
    return Time()


def test_it_is_the_wall_clock_as_long_as_that_goes_evenly(time):
    for _ in range(100):
        assert time.passes(3600) == time.wall


def test_a_jump_ahead_is_not_believed_and_is_over_when_it_is_taken_back(time, caplog):
    before = time.passes(10)
    assert time.passes(2, jump=60 * DAY) == before + 2
    assert time.passes(2) == before + 4
    assert "nothing is deleted" in caplog.text
    assert time.passes(2, jump=-60 * DAY) == before + 6 == time.wall
    assert len(caplog.records) == 1


def test_a_jump_that_lasts_is_believed(time, caplog):
    time.passes(2, jump=60 * DAY)
    assert time.passes(BELIEVED_SECONDS - 1) < time.wall - DAY
    assert time.passes(2) == time.wall
    assert "believed now" in caplog.text


def test_a_jump_back_makes_everything_younger_and_the_way_back_is_waited_for(time):
    assert time.passes(2, jump=-DAY) == time.wall
    assert time.passes(2, jump=DAY) < time.wall - DAY / 2


def test_what_is_known_from_before_the_start_counts(time):
    time.aging.start_at(time.wall - 3 * DAY)
    assert time.passes(10) == time.wall - 3 * DAY
    assert time.passes(BELIEVED_SECONDS + 1) == time.wall


def test_small_corrections_are_nothing(time):
    assert time.passes(1, jump=30) == time.wall
    assert time.passes(1, jump=-30) == time.wall
