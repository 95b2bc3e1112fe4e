"""Which events are taken is the same whether they are read in part or whole."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.pipelines.decide.condition import Condition, compile_condition
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.pipelines.decide.sample import keeps

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["a", "b", "", "1", "1.0"])
    | st.just(1.0)
)
values = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from("abc"), inside),
    max_leaves=6,
)
paths = st.sampled_from(
    ["a", "b", "a.b", "a.b.c", "a.c", "b[0]", "b[1].a", "a.b[0]", "a[0]", "odd key.a", "eventId"]
)
operators = st.sampled_from(
    [
        ("eq", "a"),
        ("neq", "1"),
        ("exists", None),
        ("notExists", None),
        ("in", "a,1"),
        ("gt", "0"),
        ("contains", "b"),
    ]
)
rules = st.builds(lambda field, op: {"field": field, "operator": op[0], "value": op[1]}, paths, operators)
events = st.dictionaries(st.sampled_from(["a", "b", "c", "odd key"]), values).map(
    lambda event: event | {"eventId": "x"}
)


@given(events, st.lists(rules, max_size=3), st.sampled_from(["all", "any"]), st.sampled_from([1.0, 0.5]))
def test_an_event_is_taken_as_when_it_is_decoded_whole(
    event: dict, rules: list[dict], match: str, sample: float
):
    condition = Condition.model_validate({"match": match, "rules": rules})
    raw = json.dumps(event).encode()
    takes = compile_filter(condition, sample)
    expected = compile_condition(condition)(msgspec.json.decode(raw)) and keeps(sample)("x")
    assert (True if takes is None else takes(raw)) == expected


def test_without_condition_and_sampling_there_is_nothing_to_tell():
    assert compile_filter(None) is None
    assert compile_filter(Condition()) is None


def test_sampling_goes_by_event_id():
    takes = compile_filter(None, 0.5)
    assert takes is not None
    ids = [f"id-{n}" for n in range(200)]
    assert [takes(b'{"eventId":"%s"}' % each.encode()) for each in ids] == [keeps(0.5)(each) for each in ids]


@pytest.mark.parametrize("event", [b"", b"{", b"\xff"])
def test_what_is_no_event_raises(event: bytes):
    takes = compile_filter(Condition.model_validate({"rules": [{"field": "a", "operator": "exists"}]}))
    assert takes is not None
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, AttributeError)):
        takes(event)
