"""Times are read as people write them."""

from __future__ import annotations

import time

import pytest
import typer

from auditflow.cli._shared.times import moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-02", 86_400.0),
        ("1970-01-01T00:00:00.250Z", 0.25),
        ("1960-01-01", 0.0),
    ],
)
def test_a_time_without_a_zone_is_utc_and_none_is_before_1970(text, seconds):
    assert moment(text, "--since") == seconds


@pytest.mark.parametrize(
    ("text", "age"), [("now", 0), ("12s", 12), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)]
)
def test_an_age_counts_back_from_now(text, age, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert moment(text, "--since") == 1_000_000.0 - age


@pytest.mark.parametrize("text", ["1700000000", "12", "9" * 400, "20260131"])
def test_a_bare_number_may_be_an_age_or_a_time_and_is_refused_with_both_ways_to_write_it(text):
    with pytest.raises(typer.BadParameter, match=f"for an age in seconds write {text}s"):
        moment(text, "--since")


def test_a_unix_time_is_written_out():
    with pytest.raises(typer.BadParameter, match="for the Unix time write 2023-11-14T22:13:20Z"):
        moment("1700000000", "--since")


def test_an_age_beyond_1970_is_1970():
    assert moment("70000d", "--since") == 0.0


@pytest.mark.parametrize("text", ["", "yesterday", "-1h", "2026-13-01", "nan", "\x1b[31m"])
def test_anything_else_is_refused_with_what_is_expected(text):
    with pytest.raises(typer.BadParameter, match="such as 30m, 1h or 7d") as refused:
        moment(text, "--until")
    assert refused.value.param_hint == "--until"
    assert "\x1b" not in refused.value.message
