"""A repeat is told from a conflict by what JSON means, not by what Python takes for equal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.event.content import same_content


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"), ("100", "1e2"), ("0.10", "0.1"), ("-0", "0"), ("-0.0", "0"), ("1E400", "1e400"),
        ('{"a":1,"b":2}', '{"b": 2, "a": 1}'), ('"\\u00e9"', '"é"'), ("12e398", "1.2e399"),
        ("123456789012345678901234567890", "123456789012345678901234567890.0"),
        ('["\\ud800", 1]', '["\\ud800", 1.0]'),
    ],
)  # fmt: skip
def test_what_json_means_the_same_by_is_the_same(one: str, other: str) -> None:
    assert same_content(b'{"v":%b}' % one.encode(), b'{"v":%b}' % other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("true", "1"), ("false", "0"), ("[true]", "[1]"), ("null", "0"), ('"1"', "1"), ("1e400", "2e400"),
        ("12345678901234567.89", "12345678901234567.88"), ("9007199254740993", "9007199254740992.0"),
        ("0.1", "0.10000000000000000001"), ("[1,2]", "[2,1]"), ('"a"', '"A"'), ('["\\ud800", true]', '["\\ud800", 1]'),
        ("1e999999", "1e999998"), ('{"a":null}', "{}"),
    ],
)  # fmt: skip
def test_what_differs_is_a_conflict(one: str, other: str) -> None:
    assert not same_content(b'{"v":%b}' % one.encode(), b'{"v":%b}' % other.encode())


def test_the_letter_case_of_an_id_does_not_count_and_that_of_a_name_does() -> None:
    assert same_content(b'{"eventId":"0198C5D2"}', b'{"eventId":"0198c5d2"}')
    assert not same_content(b'{"EventId":"a"}', b'{"eventId":"a"}')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_an_event_is_the_same_however_it_is_written(value: object) -> None:
    plain = json.dumps({"v": value, "w": 1}).encode()
    turned = json.dumps({"w": 1, "v": value}, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if b"\xed" not in turned:  # a surrogate as it stands is no UTF-8
        assert same_content(plain, turned)
