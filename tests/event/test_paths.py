"""One grammar of paths: conditions, redaction and names read them alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from auditflow.event.paths import MOST_STEPS, Every, parse_path, parse_pattern, unreachable, written
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.pipelines.decide.condition import Condition
from auditflow.pipelines.decide.filter import compile_filter
from auditflow.sinks.aws_cloudwatch_sink.templates import STREAM, Template, fields_of

QUOTED = [
    ('extra."addr.remote"', ["extra", "addr.remote"]),
    ("extra.'addr.remote'", ["extra", "addr.remote"]),
    ('extra["addr.remote"]', ["extra", "addr.remote"]),
    ("extra['authorization.k8s.io/decision']", ["extra", "authorization.k8s.io/decision"]),
    ('extra."a*b"[0]."c[1]"', ["extra", "a*b", 0, "c[1]"]),
    ('extra."say \\"hi\\""', ["extra", 'say "hi"']),
    ('extra."caf\\u00e9 {{:-}}"', ["extra", "caf\u00e9 {{:-}}"]),
    ('"extra".x', ["extra", "x"]),
    ('extra.""', ["extra", ""]),
]


@pytest.mark.parametrize(("path", "steps"), QUOTED)
def test_a_name_that_holds_a_sign_of_the_grammar_is_quoted(path: str, steps: list):
    assert parse_path(path) == steps
    assert list(parse_pattern(path)) == steps


@pytest.mark.parametrize(("path", "steps"), QUOTED)
def test_conditions_redaction_and_names_all_reach_it(path: str, steps: list):
    event: object = "found"
    for step in reversed(steps):
        event = {step: event} if isinstance(step, str) else [event]
    raw = json.dumps(event).encode()
    condition = Condition.model_validate({"rules": [{"field": path, "operator": "eq", "value": "found"}]})
    assert compile_filter(condition)(raw)
    (result,) = compile_redaction(RedactionConfig.model_validate({"rules": [{"field": path}]})).redact([raw])
    assert "found" not in result.decode()
    assert "***" in result.decode()
    if "{{" not in path:
        assert Template(f"{{{{ {path}:-none }}}}", STREAM).render(fields_of(raw)) == "found"


@pytest.mark.parametrize("path", ["extra.*", "extra[*].a", "**.a", "extra.**.a"])
def test_stars_are_for_several_fields_only(path: str):
    assert any(isinstance(step, Every) for step in parse_pattern(path))
    with pytest.raises(PydanticCustomError, match="stands for several fields"):
        parse_path(path)


@pytest.mark.parametrize(
    "path",
    ["", " ", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "[0]", "a.[0]", "a[0]b", "a]", '"a', 'a"b".', "a.'b",
     "*.a", "**", "a.**", "**.a.**.b", "a*b", "a.*b", '"\\x"', '"a"b', "***.a", " a", "a .b", "**.[0]"],
)  # fmt: skip
def test_what_is_no_path_is_refused(path: str):
    with pytest.raises(PydanticCustomError):
        parse_pattern(path)


def test_only_so_many_steps_are_followed():
    assert len(parse_path(".".join(["a"] * MOST_STEPS))) == MOST_STEPS
    with pytest.raises(PydanticCustomError, match="65 steps"):
        parse_path(".".join(["a"] * (MOST_STEPS + 1)))


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_every_name_can_be_written(names: list[str]):
    assert parse_path(".".join(map(written, names))) == names


@pytest.mark.parametrize(
    ("path", "said"),
    [("eventType.x", "eventType is a text"), ("tenantId[0]", "is a text"), ("extra[0]", "not a list"),
     ("extra[*].a", "not a list"), ("geolocation.email", "geolocation has the fields"), ("Extra.a", "called extra"),
     ("eventtype", "called eventType")],
)  # fmt: skip
def test_what_no_event_has_is_known(path: str, said: str):
    assert said in unreachable(parse_pattern(path))


@pytest.mark.parametrize(
    "path", ["eventType", "extra.a[0]", "extra", "geolocation.*", "geolocation.lat", "own.field", "**.a"]
)
def test_what_an_event_may_have_is_no_fault(path: str):
    assert unreachable(parse_pattern(path)) == ""
