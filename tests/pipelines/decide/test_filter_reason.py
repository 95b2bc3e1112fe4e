"""A filtered event is told with the rule, or the sampling, that has left it out."""

from __future__ import annotations

import pytest

from auditflow.pipelines.decide.condition import Condition
from auditflow.pipelines.decide.filter_reason import filter_reason
from auditflow.pipelines.decide.sample import keeps

EVENT_ID = "0198c5d2-0000-7000-8000-000000000001"
EVENT = b'{"eventId":"%s","eventType":"auth.login","extra":{"n":3}}' % EVENT_ID.encode()

LOGIN = {"field": "eventType", "operator": "startsWith", "value": "auth."}
LARGE = {"field": "extra.n", "operator": "gt", "value": 5}


def why(*rules: dict[str, object], match: str = "all", sample: float = 1.0) -> str | None:
    return filter_reason(EVENT, Condition.model_validate({"match": match, "rules": rules}), sample)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (LARGE, "extra.n gt 5"),
        ({"field": "extra.user", "operator": "exists"}, "extra.user exists"),
        ({"field": "eventType", "operator": "in", "value": "a, b"}, "eventType in a, b"),
    ],
)
def test_the_first_rule_that_does_not_hold_is_named_as_it_was_written(rule, text):
    assert why(LOGIN, rule, rule) == f"condition.rules[1] does not hold: {text}"


def test_where_any_rule_would_do_none_holds():
    assert why(LARGE, LARGE, match="any") == "none of the condition's rules holds"
    assert why(LARGE, LOGIN, match="any") is None


def test_sampling_is_named_only_where_it_left_the_event_out():
    share = next(n / 100 for n in range(100) if keeps(n / 100)(EVENT_ID))
    assert filter_reason(EVENT, None, share) is None
    left_out = share - 0.01
    assert filter_reason(EVENT, None, left_out) == f"sampled out: {left_out:g} of the events are kept"


def test_a_condition_comes_before_sampling():
    assert why(LARGE, sample=0).startswith("condition.rules[0]")


def test_what_passes_has_no_reason():
    assert why(LOGIN) is None
    assert filter_reason(EVENT, None, 1.0) is None


def test_a_number_that_no_float_holds_has_its_reason() -> None:
    condition = Condition.model_validate({"rules": [LARGE | {"operator": "lt"}]})
    event = EVENT.replace(b'"n":3', b'"n":1e400')
    assert filter_reason(event, condition, 1.0) == "condition.rules[0] does not hold: extra.n lt 5"
