"""A few seconds of every fuzzer. Longer: `python -m tests.fuzz redaction --seconds 600`."""

from __future__ import annotations

import pytest

from .run import TARGETS, fuzz


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_random_input_breaks_nothing(target: str):
    result = fuzz(target, seconds=5.0, seed=1)
    assert not result.finding, str(result)
    assert result.cases > 100


def test_a_finding_tells_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TARGETS, "decode", lambda dice: 1 // dice.choice((0, 1)))
    result = fuzz("decode", seconds=5.0, seed=1)
    assert "ZeroDivisionError" in result.finding
    assert fuzz("decode", 0.0, 1, first=result.cases).finding
    assert f"python -m tests.fuzz decode --seed 1 --first {result.cases}" in str(result)
