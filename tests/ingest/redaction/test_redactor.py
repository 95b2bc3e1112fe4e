"""Nothing evades redaction, nothing else is harmed by it, and the fast way does what the plain way does."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditflow.errors import RedactionFailed
from auditflow.event.paths import parse_pattern
from auditflow.ingest.redaction.config import RedactionConfig, RedactionRule, compile_redaction
from auditflow.ingest.redaction.detectors import DETECTORS
from auditflow.ingest.redaction.paths import leaves, places
from auditflow.ingest.redaction.rule import NEVER_TOUCHED, keyed_hash

KEY = "a key for the tests of redaction"
CARD = "4111111111111111"


def redactor(*rules: dict[str, Any], **more: Any):
    return compile_redaction(RedactionConfig.model_validate({"rules": rules, "key": KEY, **more}))


def redacted(raw: str | bytes, *rules: dict[str, Any], **more: Any) -> bytes:
    (result,) = redactor(*rules, **more).redact([raw.encode() if isinstance(raw, str) else raw])
    assert isinstance(result, bytes), result
    return result


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Keep its pauses, which come when memory grows, out of what is measured."""
    gc.disable()
    yield
    gc.enable()


SECRET = "amara@example.org"


@pytest.mark.parametrize(
    "raw",
    [
        '{"extra":{"email":"amara@example.org"}}',
        '{"extra" : {"email" : "amara@example.org"}}',
        '{"extra": {"email": "amara@example.org"}}',
        '{"extra":\n{"email"\n:\n"amara@example.org"}}',
        '{"extra":{"\\u0065mail":"amara@example.org"}}',
        '{"\\u0065xtra":{"email":"amara@example.org"}}',
        '{"extra":{"email":"\\u0061mara@example.org"}}',
        '{"extra":{"email":"amara\\u0040example.org"}}',
        '{"extra":{"email":"amara@example.org","email":"b"}}',
        '{"extra":{"email":"b","email":"amara@example.org"}}',
        '{"extra":{"email":"amara@example.org"},"extra":{}}',
        '{"extra":{"email":"amara@example.org"},"extra":null}',
        '{"extra":{"\\u0065mail":"amara@example.org"},"extra":{"email":"b"}}',
        '{"extra":{"x":"\\"email","email":"amara@example.org"}}',
        '{"x":"email","extra":{"email":"amara@example.org"}}',
        '{"extra":{"email":{"address":"amara@example.org"}}}',
        '{"extra":{"email":["amara@example.org"]}}',
        '{"email":null,"extra":{"email":"amara@example.org"}}',
    ],
)
@pytest.mark.parametrize("action", ["mask", "hash", "drop"])
@pytest.mark.parametrize(
    "rule",
    [
        {"field": "extra.email"},
        {"detector": "email"},
        {"field": "extra.*"},
        {"field": "extra", "detector": "email"},
    ],
)
def test_no_spelling_of_an_event_evades_a_rule(raw: str, rule: dict[str, str], action: str):
    result = redacted(raw, rule | {"action": action})
    assert SECRET.encode() not in result
    assert SECRET not in json.dumps(json.loads(result))


def test_what_a_rule_does_not_name_keeps_its_bytes():
    raw = '{"a":1.0,"b":1e5,"c":12345678901234567890123,"extra":{"email":"x","n":0.10000000000000000001,"m":%s}}'
    raw %= "9" * 5000
    for rule in (
        {"field": "extra.email"},
        {"field": "extra.*.x"},
        {"field": "extra.em*il".replace("*", "a")},
    ):
        assert redacted(raw, rule).decode() == raw.replace(
            '"email":"x"', '"email":"***"' if rule["field"] == "extra.email" else '"email":"x"'
        )
    detected = redacted(raw.replace('"x"', f'"{CARD}"'), {"detector": "card"}).decode()
    assert detected == raw.replace('"x"', '"***"')


def test_an_event_that_is_not_touched_is_the_same_object():
    raws = [
        b'{"extra":{"mail":"x"}}',
        b'{ "email" : "top", "extra": {"x": "\\u00e9"} }',
        b'{"extra":{"note":"\\u0041 and \\"email\\""}}',
        b'{"extra":{"phone":"4111 1111 1111 1112"}}',
    ]
    results = redactor({"field": "extra.email"}, {"detector": "card"}, {"field": "items[*].card"}).redact(
        raws
    )
    assert all(result is raw for result, raw in zip(results, raws, strict=True))


def test_an_event_that_cannot_be_redacted_spoils_no_other():
    deep = b'{"extra":{"email":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    raws = [b'{"extra":{"email":"a"}}', deep, b'{"extra":{"email":"\\ud800"}}', b'{"extra":{"email":"b"}}']
    first, *failed, last = redactor({"field": "extra.email", "action": "hash"}).redact(raws)
    assert json.loads(first)["extra"]["email"] != json.loads(last)["extra"]["email"]
    assert [type(each) for each in failed] == [RedactionFailed, RedactionFailed]
    assert "nested too deeply" in str(failed[0])


@pytest.mark.parametrize("value", ["null", '"other"', '""'])
@pytest.mark.parametrize("action", ["mask", "drop"])
def test_a_name_written_oddly_in_one_event_does_not_hide_a_repeated_one_in_another(value: str, action: str):
    repeated = b'{"extra":{"ip":"first","b":1,"ip":"last"}}'
    odd = b'{"extra":{"a":1,"\\u0069p":%b}}' % value.encode()
    results = redactor({"field": "extra.ip", "action": action}).redact([repeated, odd])
    assert b"first" not in results[0]
    assert b"last" not in results[0]
    assert b"other" not in results[1]


@pytest.mark.parametrize("raw", [b'{"extra":{"note":"a@b.cc"}}', b'{"extra":"a@b.cc", broken'])
def test_garbage_is_collected_again_after_an_event_was_taken_apart(raw: bytes):
    redactor({"detector": "email"}).redact([raw])
    assert gc.isenabled()


def test_no_event_no_answer():
    assert redactor({"field": "extra.email"}).redact([]) == []


def test_explaining_says_what_each_rule_does_and_never_the_value():
    raw = b'{"extra":{"users":[{"email":"amara@example.org"},{"email":null}],"note":"amara@example.org"}}'
    rules = (
        {"id": "mails", "field": "extra.users[*].email", "action": "drop"},
        {"detector": "email"},
        {"field": "x"},
    )
    effects = redactor(*rules).explain(raw)
    assert [(effect.rule, effect.action, effect.fields) for effect in effects] == [
        ("mails", "drop", ["extra.users[0].email"]),
        ("email", "mask", ["extra.note"]),
        ("x", "mask", []),
    ]
    assert SECRET not in repr(effects)


def test_hashing_remembers_no_long_texts():
    hashing = redactor({"field": "extra.text", "action": "hash"})
    tracemalloc.start()
    for number in range(200):
        hashing.redact([b'{"extra":{"text":"%d%s"}}' % (number, b"x" * 100_000)])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000


@pytest.mark.parametrize(
    "piece", ["@", "eyJ", "4111 ", "411-", "DE89 ", "a::", "1.2.3.4,", "a@b.cc ", '\\"email']
)
@pytest.mark.alone
@pytest.mark.usefixtures("no_garbage_collection")
def test_time_is_linear_in_the_event(piece: str):
    rules = [{"detector": detector} for detector in DETECTORS] + [{"field": "extra.email"}]
    redacting = redactor(*rules)

    def seconds(times: int) -> float:
        raw = b'{"extra":{"text":"%b"}}' % (piece.encode() * times)
        started = time.process_time()
        redacting.redact([raw])
        return time.process_time() - started

    assert min(seconds(20_000) for _ in range(2)) < 30 * min(seconds(2_000) for _ in range(3)) + 0.05


def seconds_for(value: str, times: int, *rules: dict[str, Any]) -> float:
    raw = b'{"extra":{"items":[%b"a@b.cc"]}}' % ((value + ",").encode() * times)
    redacting = redactor(*rules)
    started = time.process_time()
    redacting.redact([raw])
    return time.process_time() - started


@pytest.mark.parametrize(
    "value",
    ['""', '"a@b.cc"', '"::1"', f'"{CARD}"', CARD, "0", "1.5", "1e999", "[]", "{}", '{"x":{"card":1}}'],
)
@pytest.mark.alone
@pytest.mark.usefixtures("no_garbage_collection")
def test_time_is_linear_in_the_number_of_values(value: str):
    rules = [{"detector": detector} for detector in DETECTORS]
    rules += [{"field": "extra.items[*].card"}, {"field": "extra.items[*].*.card"}]
    short = min(seconds_for(value, 1_000, *rules) for _ in range(3))
    assert min(seconds_for(value, 10_000, *rules) for _ in range(2)) < 30 * short + 0.05


@pytest.mark.usefixtures("no_garbage_collection")
def test_many_values_are_read_once_for_all_detectors():
    one = min(seconds_for("0", 100_000, {"detector": "email"}) for _ in range(3))
    all_of_them = [{"detector": detector} for detector in DETECTORS]
    assert min(seconds_for("0", 100_000, *all_of_them) for _ in range(3)) < 3 * one


# The plain way: decode everything, walk everything, encode everything.


def plainly(raw: bytes, rules: list[RedactionRule]) -> Any:
    tree = json.loads(raw, parse_float=Decimal)
    for rule in rules:
        steps = parse_pattern(rule.field) if rule.field else None
        if steps:
            roots = list(places(tree, steps))
        else:
            roots = [(tree, name, (None, name)) for name in tree if name not in {*NEVER_TOUCHED, "eventTime"}]
        found = [leaf for root in roots for leaf in leaves(root)] if rule.detector else roots
        for node, key, _ in list(found):
            new = plain_value(node[key], rule)
            if new is None and node[key] is not None and isinstance(node, dict):
                del node[key]
            else:
                node[key] = new
    return tree


def plain_value(value: Any, rule: RedactionRule) -> Any:
    def replace(text: str) -> str:
        return "***" if rule.does == "mask" else keyed_hash(KEY.encode())(text.encode()).decode()

    if value is None or (rule.detector and not isinstance(value, str)):
        return value
    if not rule.detector:
        text = (
            value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        )
        return None if rule.does == "drop" else replace(text)
    done, text = 0, ""
    for start, end in DETECTORS[rule.detector].find(value):
        if rule.does == "drop":
            return None
        text, done = text + value[done:start] + replace(value[start:end]), end
    return text + value[done:]


NAMES = ["email", "extra", "a", "items", "größe", "a/b", "redaction"]
TEXTS = st.one_of(
    st.sampled_from(
        [
            "x",
            "",
            "amara@example.org",
            f"card {CARD}",
            "email",
            '"email',
            'a"email":',
            "\\",
            "203.0.113.7",
            "é",
        ]
    ),
    st.text(max_size=5),
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20).filter(lambda n: abs(n) < 10**12), TEXTS
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
EVENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
FIELDS = ["extra.email", "extra.a", "extra.a.email", "extra.a.a", "a", "email", "items[0].email", "extra.*.email", "items[*]", "extra.größe", "extra.a/b", "größe.email", "redaction"]  # fmt: skip


@st.composite
def rules(draw: st.DrawFn) -> dict[str, str]:
    field = draw(st.none() | st.sampled_from(FIELDS))
    detector = draw(st.sampled_from(["email", "card", "ip"]) | (st.none() if field else st.nothing()))
    action = draw(st.sampled_from(["mask", "hash", "drop"]))
    return {"field": field, "detector": detector, "action": action}


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """Write JSON in one of the ways in which clients do, names and texts with or without escapes, perhaps twice."""
    if isinstance(value, dict):
        members = [
            f"{draw(written(name))}{draw(SPACES)}:{draw(SPACES)}{draw(written(each))}"
            for name, each in value.items()
        ]
        if members and draw(st.integers(0, 9)) == 0:
            members.insert(0, f"{draw(written(draw(st.sampled_from(NAMES))))}:{draw(written(draw(TEXTS)))}")
        return "{" + f"{draw(SPACES)},{draw(SPACES)}".join(members) + "}"
    if isinstance(value, list):
        return "[" + f",{draw(SPACES)}".join(draw(written(each)) for each in value) + "]"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        if value and value.isalnum() and value.isascii() and draw(st.integers(0, 9)) == 0:
            text = f'"\\u{ord(value[0]):04x}{value[1:]}"'
        return text.replace("/", "\\/") if draw(st.integers(0, 9)) == 0 else text
    return json.dumps(value)


SPACES = st.sampled_from(["", "", "", " ", "\n"])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    given_rules=st.lists(rules(), min_size=1, max_size=4),
    events=st.lists(EVENTS, min_size=1, max_size=4),
)
def test_the_fast_way_does_what_the_plain_way_does(
    data: st.DataObject, given_rules: list[dict[str, str]], events: list[dict[str, Any]]
):
    config = RedactionConfig.model_validate({"rules": given_rules, "key": KEY})
    raws = [data.draw(written(event)).encode() for event in events]
    for raw, result in zip(raws, compile_redaction(config).redact(raws), strict=True):
        assert isinstance(result, bytes), result
        assert json.loads(result, parse_float=Decimal) == plainly(raw, list(config.rules))
        if json.loads(result) == json.loads(raw) and not repeats(raw):
            assert result is raw


def repeats(raw: bytes) -> bool:
    found = []
    json.loads(
        raw, object_pairs_hook=lambda pairs: found.append(len(dict(pairs)) < len(pairs)) or dict(pairs)
    )
    return any(found)
