"""A short torture: a minute of faults, and every event accounted for. The long one is `make torture`."""

from __future__ import annotations

import pytest

from .run import damage, torture

pytestmark = pytest.mark.slow


@pytest.mark.timeout(420)
def test_nothing_is_lost_and_the_accounts_balance_under_faults():
    result = torture(seed=11, seconds=60.0, rate=300.0)
    assert result.problems == [], result.markdown()
    assert result.acknowledged > 500, result.markdown()
    assert sum(result.struck.values()) > 10, result.markdown()


@pytest.mark.timeout(420)
def test_what_is_lost_with_damaged_files_is_reported():
    result = damage(seed=5, seconds=45.0, rate=150.0)
    assert result.problems == [], result.markdown()
