"""What other people's code says is cut to what can be stored and told."""

from __future__ import annotations

import pytest

from auditflow.plugin_call import LONGEST_TEXT, text_of, without_user_info


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_what_an_exception_says_is_bounded_and_can_be_stored():
    assert text_of(ValueError("x" * 3000)) == "x" * LONGEST_TEXT
    assert text_of(ValueError("half a pair: \ud800")) == "half a pair: ?"
    assert text_of(Mute()) == "it cannot be printed"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no answer from https://me:hunter2@db:5432/x.", "no answer from https://***@db:5432/x."),
        ("amqp://hunter2@a and amqp://hunter2@b", "amqp://***@a and amqp://***@b"),
        ("'https://me:hunter/2@x@a/'", "'https://***@a/'"),
        ("see https://example.com/a", "see https://example.com/a"),
        ("mail me@example.com", "mail me@example.com"),
    ],
)
def test_user_and_password_of_a_url_are_told_to_nobody(said: str, told: str):
    assert without_user_info(said) == told
    assert text_of(ValueError(said)) == told
