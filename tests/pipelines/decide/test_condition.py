from typing import Any

import pytest
from pydantic import ValidationError

from auditflow.event.model import decode
from auditflow.pipelines.decide.condition import Condition, Rule, compile_condition
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.settings import Fault, faults

EVENT = {
    "eventType": "auth.Login",
    "n": 42,
    "price": 1.0,
    "ok": True,
    "nothing": None,
    "extra": {"a": {"b": "deep"}, "list": [{"id": "x"}, [10, [20]]], "map": {"a": 1}, "text": "9"},
}


def holds(field: str, operator: str, value: Any = None, event: dict[str, Any] = EVENT) -> bool:
    condition = Condition.model_validate({"rules": [{"field": field, "operator": operator, "value": value}]})
    return compile_condition(condition)(event)


def refused(*rules: Any, **more: Any) -> list[Fault]:
    with pytest.raises(ValidationError) as raised:
        Condition.model_validate({"rules": list(rules), **more})
    return faults(raised.value)


@pytest.mark.parametrize(
    ("operator", "value", "satisfied_by", "not_satisfied_by"),
    [
        ("eq", "a", "a", "A"),
        ("equals", "a", "a", "ab"),
        ("neq", "a", "b", "a"),
        ("not_equals", "a", "b", "a"),
        ("notequals", "a", "b", "a"),
        ("contains", "b", "abc", "ac"),
        ("not_contains", "b", "ac", "abc"),
        ("notContains", "b", "ac", "abc"),
        ("startsWith", "ab", "abc", "cab"),
        ("starts_with", "ab", "abc", "cab"),
        ("endsWith", "bc", "abc", "bca"),
        ("ends_with", "bc", "abc", "bca"),
        ("in", "a, b ,c", "b", "a, b"),
        ("notIn", "a,b", "c", "a"),
        ("not_in", "a,b", "c", "b"),
        ("regex", "a+b?", "aab", "xaab"),
        ("matches", "a+b?", "aa", "aabx"),
        ("gt", "10", "11", "9"),
        ("gte", "10", "10.0", "9"),
        ("ge", "10", "1e1", "9.99"),
        ("lt", "10", "9", "10"),
        ("lte", "10", "10", "11"),
        ("le", "10", "-1", "11"),
        ("eqIgnoreCase", "aB", "Ab", "a"),
        ("eq_ignore_case", "aB", "AB", "b"),
    ],
)
@pytest.mark.parametrize("spelling", [str, str.upper, str.lower])
def test_each_operator_and_alias_in_any_case(
    operator: str, value: str, satisfied_by: str, not_satisfied_by: str, spelling: Any
) -> None:
    assert holds("f", spelling(operator), value, {"f": satisfied_by})
    assert not holds("f", spelling(operator), value, {"f": not_satisfied_by})


def test_exists_and_not_exists_need_no_value() -> None:
    assert holds("eventType", "exists")
    assert not holds("nothing", "exists")
    assert holds("nothing", "notExists")
    assert holds("extra.a.c", "not_exists")
    assert not holds("eventType", "notExists")


@pytest.mark.parametrize(
    "field", ["absent", "nothing", "extra.a.b.c", "extra.list[7]", "eventType[0]", "extra[0]", "n.x"]
)
@pytest.mark.parametrize(
    "operator",
    [
        "eq",
        "neq",
        "contains",
        "not_contains",
        "startsWith",
        "endsWith",
        "in",
        "notIn",
        "regex",
        "gt",
        "lte",
        "eqIgnoreCase",
    ],
)
def test_a_field_that_is_not_there_satisfies_nothing(field: str, operator: str) -> None:
    assert not holds(field, operator, "zzz")
    assert not holds(field, "exists")
    assert holds(field, "notExists")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("extra.a.b", "deep"),
        ("extra.list[0].id", "x"),
        ("extra.list[1][0]", "10"),
        ("extra.list[1][1][0]", "20"),
        ("extra.map", '{"a":1}'),
        ("extra.list[1]", "[10,[20]]"),
        ("n", "42"),
        ("price", "1.0"),
        ("ok", "true"),
    ],
)
def test_paths_lead_to_values_and_values_are_compared_as_text(field: str, value: str) -> None:
    assert holds(field, "eq", value)


@pytest.mark.parametrize(("field", "value"), [("n", 42), ("price", 1.0), ("ok", True), ("extra.text", 9)])
def test_the_expected_value_may_be_a_number_or_a_boolean(field: str, value: object) -> None:
    assert holds(field, "eq", value)


def test_equality_is_of_texts_not_of_numbers() -> None:
    assert not holds("n", "eq", "42.0")


def test_members_may_be_a_list_and_then_keep_their_commas() -> None:
    assert holds("n", "in", [41, 42])
    assert holds("f", "in", ["a,b"], {"f": "a,b"})
    assert not holds("f", "notIn", ["a,b"], {"f": "a,b"})


@pytest.mark.parametrize("operator", ["gt", "gte", "lt", "lte"])
@pytest.mark.parametrize(
    "value", [False, True, None, "n/a", "", "9 lives", "nan", [], {}, [2000], "9" * 20_000, "1e" + "9" * 30]
)
def test_what_is_no_number_is_neither_above_nor_below_one(operator: str, value: object) -> None:
    assert not holds("f", operator, 1000, {"f": value})


@pytest.mark.parametrize(
    ("value", "bound", "above"),
    [
        (9007199254740993, "9007199254740992", True),
        ("9007199254740993", "9007199254740992", True),
        (9007199254740992, "9007199254740992.5", False),
        (9007199254740992.0, "9007199254740993", False),
        (9007199254740994.0, "9007199254740993", True),
        (0.1, "0.1", False),
        ("0.1", "0.1", False),
        ("12345678901234567.89", "12345678901234567.88", True),
        ("1000.00", "1000", False),
        (" 1001 ", "1e3", True),
        ("1e999999", "1e999998", True),
        (1, "1e999999", False),
        (1.5, "-1e999999", True),
        (2.5, "9" * 400, False),
        (10**400, "9" * 400, True),
    ],
)
def test_numbers_are_compared_exactly(value: object, bound: str, above: bool) -> None:
    assert holds("f", "gt", bound, {"f": value}) is above
    assert holds("f", "lte", bound, {"f": value}) is not above


def test_order_is_of_texts_when_the_bound_is_no_number() -> None:
    assert holds("extra.text", "lt", "10")
    assert holds("f", "gt", "10a", {"f": 9})
    assert holds("f", "gte", "2026-01-01", {"f": "2026-01-01T00:00:00Z"})
    assert not holds("f", "gt", "nan", {"f": "inf"})


@pytest.mark.parametrize(
    ("number", "operator", "value", "answer"),
    [
        ("1e400", "gt", 5, True),
        ("1e400", "lt", 5, False),
        ("-1e999", "lte", "-1.5", True),
        ("1e400", "eq", "1e400", True),
        ("1e400", "neq", 5, True),
        ("1e400", "exists", None, True),
        ("1e400", "gt", "a", False),
        ("[1e400]", "contains", "1e400", True),
        ("1" * 400, "gte", 5, True),
        ("-" + "1" * 400, "gt", 5, False),
        ("1" * 5000, "gt", 5, True),
        ("1" * 25, "startsWith", "111", True),
    ],
)
def test_a_number_that_no_float_holds_is_compared_all_the_same(
    number: str, operator: str, value: Any, answer: bool
) -> None:
    event = b'{"x":{"n":%s}}' % number.encode()
    assert holds("x.n", operator, value, decode(event)) is answer
    rules = [{"field": "x.n", "operator": operator, "value": value}]
    takes = compile_filter(Condition.model_validate({"rules": rules}))
    assert takes is not None
    assert takes(event) is answer


def test_a_regular_expression_matches_the_whole_text_in_linear_time() -> None:
    assert holds("eventType", "regex", r"auth\..*")
    assert not holds("eventType", "regex", "auth")
    assert not holds("f", "regex", "(a+)+$", {"f": "a" * 50_000 + "!"})


def test_all_rules_must_hold_or_any() -> None:
    rules = [
        {"field": "n", "operator": "eq", "value": 42},
        {"field": "ok", "operator": "eq", "value": "false"},
    ]
    assert not compile_condition(Condition.model_validate({"rules": rules}))(EVENT)
    assert compile_condition(Condition.model_validate({"match": "any", "rules": rules}))(EVENT)
    assert not compile_condition(Condition.model_validate({"match": "any", "rules": rules[1:] * 2}))(EVENT)
    assert compile_condition(Condition.model_validate({"match": "all", "rules": rules[:1] * 2}))(EVENT)


@pytest.mark.parametrize("match", ["all", "any"])
def test_without_rules_every_event_is_taken(match: str) -> None:
    assert compile_condition(Condition.model_validate({"match": match}))({})


def test_an_unknown_operator_is_refused_with_the_one_that_was_meant() -> None:
    [fault] = refused({"field": "a", "operator": "startWith", "value": "x"})
    assert fault.where == ("rules", 0, "operator")
    assert "startWith" in fault.message
    assert "did you mean startsWith?" in fault.hint
    assert "eqIgnoreCase" in fault.hint


@pytest.mark.parametrize("operator", ["eq", "contains", "startsWith", "in", "regex", "gt", "eqIgnoreCase"])
@pytest.mark.parametrize("rule", [{}, {"value": None}])
def test_a_missing_value_is_refused(operator: str, rule: dict[str, object]) -> None:
    [fault] = refused({"field": "a", "operator": operator, **rule})
    assert fault.where == ("rules", 0, "value")
    assert operator in fault.message


@pytest.mark.parametrize(
    "path", ["", " ", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "[0]", "a.[0]", "a[0]b", "a]"]
)
def test_a_path_that_cannot_be_followed_is_refused(path: str) -> None:
    assert [fault.where for fault in refused({"field": path, "operator": "exists"})] == [
        ("rules", 0, "field")
    ]


@pytest.mark.parametrize("pattern", ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1"])
def test_look_around_and_back_references_are_refused_by_name(pattern: str) -> None:
    [fault] = refused({"field": "a", "operator": "regex", "value": pattern})
    assert fault.where == ("rules", 0, "value")
    assert "look-around" in fault.hint


def test_a_broken_regular_expression_is_refused_and_nothing_is_written_to_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    [fault] = refused({"field": "a", "operator": "regex", "value": "(a"})
    assert "missing )" in fault.message
    assert "RE2" in fault.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("operator", "value"), [("eq", ["a"]), ("eq", {"a": 1}), ("in", []), ("in", [["a"]]), ("in", {"a": 1})]
)
def test_a_value_of_the_wrong_shape_is_refused(operator: str, value: object) -> None:
    assert [fault.where for fault in refused({"field": "a", "operator": operator, "value": value})] == [
        ("rules", 0, "value")
    ]


def test_anything_but_all_and_any_is_refused() -> None:
    assert [fault.where for fault in refused(match="some")] == [("match",)]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = refused({"field": "", "operator": "eqq", "valu": 1}, {"operator": "eq"}, 3)
    assert [fault.where for fault in found] == [
        ("rules", 0, "field"),
        ("rules", 0, "operator"),
        ("rules", 0, "valu"),
        ("rules", 1, "field"),
        ("rules", 1, "value"),
        ("rules", 2),
    ]


@pytest.mark.parametrize(
    ("operator", "value", "hint"),
    [
        ("exists", False, "write notExists, without a value"),
        ("exists", "false", "write notExists, without a value"),
        ("notExists", False, "write exists, without a value"),
        ("exists", True, "leave the value out"),
        ("notExists", "", "leave the value out"),
    ],
)
def test_a_value_where_the_operator_takes_none_is_refused(operator: str, value: object, hint: str) -> None:
    with pytest.raises(ValidationError, match=f"the operator {operator} takes no value") as caught:
        Rule(field="f", operator=operator, value=value)  # type: ignore[arg-type] # as YAML has it
    assert hint in str(caught.value.errors())


def test_a_number_just_below_the_bound_does_not_reach_it() -> None:
    assert not holds("f", "gte", "9007199254740993", {"f": 9007199254740992.0})


def test_a_search_finds_the_expression_anywhere_and_regex_wants_the_whole_text() -> None:
    event = {"f": "auth.login"}
    assert holds("f", "search", "log[io]n", event)
    assert not holds("f", "search", "^login", event)
    assert not holds("f", "regex", "log[io]n", event)


@pytest.mark.parametrize("event", [{}, {"f": None}])
@pytest.mark.parametrize("operator", ["neq", "notIn", "not_contains", "eq", "regex", "gt", "lte"])
def test_a_rule_says_what_a_missing_field_makes_of_it(operator: str, event: dict[str, object]) -> None:
    for missing, expected in (("match", True), ("fail", False)):
        rule = Rule.model_validate({"field": "f", "operator": operator, "value": "7", "missing": missing})
        assert compile_condition(Condition(rules=(rule,)))(event) is expected


@pytest.mark.parametrize("operator", ["exists", "notExists"])
def test_what_a_missing_field_makes_is_not_said_twice(operator: str) -> None:
    with pytest.raises(ValidationError, match=f"missing: the operator {operator} is about that itself"):
        Rule.model_validate({"field": "f", "operator": operator, "missing": "match"})
