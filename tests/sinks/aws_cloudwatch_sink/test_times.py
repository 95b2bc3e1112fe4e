import pytest

from auditflow.sinks.aws_cloudwatch_sink.times import clamp

NOW = 1_800_000_000_000
DAY = 24 * 3600 * 1000


@pytest.mark.parametrize("away", [-14 * DAY + 61_000, -DAY, 0, 2 * 3_600_000 - 61_000])
def test_a_time_that_the_service_takes_is_kept(away):
    assert clamp([NOW, NOW + away], NOW) == [NOW, NOW + away]


@pytest.mark.parametrize(
    "away", [-14 * DAY, -14 * DAY + 30_000, -400 * DAY, 2 * 3_600_000, 2 * 3_600_000 - 30_000, 9 * DAY]
)
def test_a_time_at_or_beyond_the_edges_becomes_now(away):
    assert clamp([NOW + away, NOW - 1], NOW) == [NOW, NOW - 1]
