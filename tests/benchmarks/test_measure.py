import time

import pytest
from measure import Run, Target, json_loads, middle


@pytest.mark.parametrize(
    ("bound", "limit", "measured", "share"),
    [
        ("≤", 2, 1, 0.5),
        ("≤", 2, 3, 1.5),
        ("≥", 2, 4, 0.5),
        ("≥", 2, 1, 2),
        ("≤", 0, 0, 0),
        ("≥", 1, 0, float("inf")),
    ],
)
def test_a_target_is_met_when_no_more_than_its_share_is_used(bound, limit, measured, share):
    target = Target("what", bound, limit, measured)
    assert target.share == share
    assert target.met == (share <= 1)


def test_the_yardstick_is_some_microseconds():
    began = time.process_time()
    assert 0.5 < json_loads() < (time.process_time() - began) * 1e6


def test_of_several_runs_the_one_with_the_middle_cpu_counts_over_the_middle_yardstick():
    def made(cpu, yardstick):
        return Run("case", "subject", 1, 1, 1, 1, 1, {"ingest": cpu - 1, "delivery": 1}, yardstick, 1, 1, 1)

    found = middle([made(6, 2), made(9, 5), made(3, 3)])
    assert (found.cpu, found.yardstick, found.ratio) == (6, 3, 2)
