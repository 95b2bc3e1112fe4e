import time

import pytest
from measure import Target


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
    from measure import json_loads

    began = time.process_time()
    assert 0.5 < json_loads() < (time.process_time() - began) * 1e6
