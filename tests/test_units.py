"""Durations and sizes are read as people write them, and written so that they can be read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.units import readable_duration, readable_size, seconds, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("30", 30),
        ("5m", 300),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
    ],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, expected: float):
    assert seconds(text) == expected


def test_a_number_is_seconds_and_white_space_is_allowed():
    assert (seconds(3), seconds(0.5), seconds(0), seconds(" 5 s ")) == (3.0, 0.5, 0.0, 5.0)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "1 2", "5S", True, None, "1e3"])
def test_what_is_no_duration_is_refused_with_examples(text: object):
    with pytest.raises(ValueError, match="250ms, 30s, 5m, 24h or 7d"):
        seconds(text)


@pytest.mark.parametrize("number", [-1, -0.5])
def test_a_negative_number_is_refused(number: float):
    with pytest.raises(ValueError, match="negative"):
        seconds(number)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_no_length_of_time_is_refused(number: float):
    with pytest.raises(ValueError, match="duration"):
        seconds(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1048576", 2**20),
        (512, 512),
        ("10GiB", 10 * 2**30),
        ("512kB", 512_000),
        ("1.5 MiB", 3 * 2**19),
        ("7b", 7),
    ],
)
def test_a_size_has_a_unit_or_is_in_bytes(text: object, expected: int):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "5x", -5, True, None])
def test_what_is_no_size_is_refused_with_examples(text: object):
    with pytest.raises(ValueError, match="512KiB or 10GiB"):
        size(text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (604_800, "7d"),
        (90_000, "25h"),
        (300, "5m"),
        (90, "90s"),
        (1.5, "1500ms"),
        (0.25, "250ms"),
        (0, "0s"),
        (0.0005, "0.0005s"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit_without_a_fraction(length: float, text: str):
    assert readable_duration(length) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (2**20, "1MiB"),
        (5_000_000, "4.8MiB"),
        (10 * 2**30, "10GiB"),
        (2**40, "1TiB"),
        (2**30 * 1536, "1.5TiB"),
        (5000 * 2**40, "5000TiB"),
    ],
)
def test_a_size_is_written_in_its_largest_unit(count: int, text: str):
    assert readable_size(count) == text


@given(st.integers(0, 2**50))
def test_a_size_that_was_written_is_read_as_nearly_the_same(count: int):
    assert abs(size(readable_size(count)) - count) <= max(count * 0.06, 0)


@given(st.integers(0, 10**7))
def test_a_duration_that_was_written_is_read_as_the_same(length: int):
    assert seconds(readable_duration(length)) == length
