"""Texts that are searched as one give what each of them would give alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.ingest.redaction.detectors import DETECTORS
from auditflow.ingest.redaction.texts import Texts

PIECES = st.sampled_from(
    [*"48 -.:@A\n", "a@b", ".cc", "4111 1111", "11111111", "DE8937040044", "0532013000", "1.2", ".3.4", "::1", "1:2:3:4",
     "eyJa.", "b.c", "AKIAIOSFODNN7", "EXAMPLE", "wJalrXUtnFEMI/K7MDENG", "/bPxRfiCYEXAMPLEKE7"]
)  # fmt: skip


def replaced(detector: str, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    values = dict(values)
    texts = Texts((values, key, (None, key)) for key in values)
    changed = texts.replace(DETECTORS[detector], lambda found: f"<{found}>")
    return values, [key for _, key, _ in changed]


@pytest.mark.parametrize("detector", DETECTORS)
@given(written=st.lists(st.lists(PIECES, max_size=4).map("".join), max_size=4))
def test_nothing_is_found_across_two_texts_and_nothing_is_missed(detector: str, written: list[str]):
    values = {str(number): text for number, text in enumerate(written)}
    together, changed = replaced(detector, values)
    alone = {key: replaced(detector, {key: text})[0][key] for key, text in values.items()}
    assert together == alone
    assert changed == [key for key in values if alone[key] != values[key]]


def test_what_one_detector_has_left_is_what_the_next_one_sees():
    values = {"a": "x", "b": "4111111111111111 a@b.cc", "c": 4111111111111111, "d": "a@b.cc", "e": None}
    texts = Texts((values, key, (None, key)) for key in values)
    texts.replace(DETECTORS["card"], None)
    changed = texts.replace(DETECTORS["email"], lambda _: "*")
    assert values == {"a": "x", "b": None, "c": None, "d": "*", "e": None}
    assert [key for _, key, _ in changed] == ["d"]
