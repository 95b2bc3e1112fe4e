"""What redaction may be told, and what it does with events."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from pydantic import ValidationError

from auditflow.errors import RedactionFailed
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.settings import faults
from auditflow.telemetry import metrics

KEY = "a key for the tests of redaction"
EVENT_ID = "0190163d-8694-739b-aea5-966c26f8ad90"
CARD = "4111 1111 1111 1111"


def event(**fields: Any) -> bytes:
    return json.dumps({"eventType": "auth.login", "sourceSystem": "web"} | fields).encode()


def configured(*rules: dict[str, Any], **more: Any) -> RedactionConfig:
    return RedactionConfig.model_validate({"rules": rules, "key": KEY, **more})


def redacted(raw: bytes, *rules: dict[str, Any], **more: Any) -> Any:
    (result,) = compile_redaction(configured(*rules, **more)).redact([raw])
    if isinstance(result, RedactionFailed):
        raise result
    return json.loads(result)


def hashed(text: str, key: str = KEY) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def problems(*rules: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        RedactionConfig.model_validate({"rules": rules, **more})
    return [f"{fault.message} / {fault.hint}" for fault in faults(raised.value)]


def test_mask_is_the_action_unless_another_is_named():
    raw = event(extra={"email": "amara@example.org", "userId": "amara"})
    assert redacted(raw, {"field": "extra.email"})["extra"] == {"email": "***", "userId": "amara"}
    assert redacted(raw, {"field": "extra.email"}, mask="[gone]")["extra"]["email"] == "[gone]"


def test_a_hash_is_keyed_so_that_equal_values_stay_equal_and_cannot_be_guessed():
    raw = event(extra={"userId": "amara", "other": 42, "list": [1, {"a": "b"}]})
    rules = [{"field": f"extra.{name}", "action": "hash"} for name in ("userId", "other", "list")]
    assert redacted(raw, *rules)["extra"] == {
        "userId": hashed("amara"),
        "other": hashed("42"),
        "list": hashed('[1,{"a":"b"}]'),
    }
    other = redacted(raw, rules[0], key="another key, as long as that")["extra"]["userId"]
    assert other == hashed("amara", "another key, as long as that")


def test_drop_removes_a_field_and_leaves_the_index_of_list_items():
    raw = event(extra={"a": 1, "b": 2}, items=[1, 2, 3])
    out = redacted(raw, {"field": "extra.a", "action": "drop"}, {"field": "items[0]", "action": "drop"})
    assert (out["extra"], out["items"]) == ({"b": 2}, [None, 2, 3])


@pytest.mark.parametrize("value", [4111111111111111, 1.5, True, {"deep": [1]}, ["x"]])
def test_a_value_of_any_kind_becomes_text(value: object):
    assert redacted(event(extra={"card": value}), {"field": "extra.card"})["extra"]["card"] == "***"


def test_what_is_absent_or_null_is_left_alone():
    raw = event(extra={"email": None})
    (result,) = compile_redaction(configured({"field": "extra.email"}, {"field": "extra.tel"})).redact([raw])
    assert result is raw


def test_a_detector_redacts_what_it_finds_and_leaves_the_rest_of_the_text():
    raw = event(
        extra={"note": f"paid with {CARD} by a@example.org", "deep": [{"x": [CARD]}], "n": 4111111111111111}
    )
    extra = redacted(raw, {"detector": "card"}, {"detector": "email", "action": "hash"})["extra"]
    assert extra["note"] == f"paid with *** by {hashed('a@example.org')}"
    assert (extra["deep"], extra["n"]) == ([{"x": ["***"]}], "***")


def test_a_detector_that_drops_removes_the_whole_value():
    raw = event(extra={"note": f"paid with {CARD}", "list": [CARD, "x"], "ok": "yes"})
    assert redacted(raw, {"detector": "card", "action": "drop"})["extra"] == {
        "list": [None, "x"],
        "ok": "yes",
    }


def test_with_a_field_a_detector_looks_only_there_and_below():
    raw = event(note=CARD, extra={"a": CARD, "b": {"c": [CARD]}})
    out = redacted(raw, {"field": "extra.b", "detector": "card"})
    assert (out["note"], out["extra"]) == (CARD, {"a": CARD, "b": {"c": ["***"]}})


def test_a_detector_looks_at_no_fractions_or_fields_that_say_which_event_it_is():
    raw = event(eventId=EVENT_ID, tenantId="203.0.113.7", extra={"n": 0.4111111111111111})
    (result,) = compile_redaction(configured({"detector": "card"}, {"detector": "ip"})).redact([raw])
    assert result is raw


def test_a_detector_looks_at_names_at_any_depth_and_loses_no_member():
    raw = event(extra={CARD: 1, "other": [{CARD: CARD, "a@example.org": 2}], "***": 3, "4012888888881881": 4})
    assert redacted(raw, {"detector": "card"}, {"detector": "email"})["extra"] == {
        "***-2": 1, "other": [{"***": "***", "***-2": 2}], "***": 3, "***-3": 4,
    }  # fmt: skip
    assert redacted(raw, {"detector": "card", "action": "drop"})["extra"] == {
        "other": [{"a@example.org": 2}], "***": 3,
    }  # fmt: skip
    hashes = redacted(raw, {"detector": "card", "action": "hash"})["extra"]
    assert list(hashes) == [hashed(CARD), "other", "***", hashed("4012888888881881")], "the order stays"
    within = redacted(raw, {"detector": "card", "field": "extra.other"})["extra"]
    assert (CARD in within, within["other"]) == (True, [{"***": "***", "a@example.org": 2}])


def test_no_explanation_shows_a_name_that_is_redacted():
    redactor = compile_redaction(configured({"detector": "card"}))
    (effect,) = redactor.explain(event(extra={CARD: {CARD: 1}}))
    assert effect.fields
    assert CARD not in str(effect)


def test_names_with_dots_and_names_at_any_depth_are_reached():
    fields = {
        "addr.remote": "1",
        "authorization.k8s.io/decision": "allow",
        "a": [{"password": "p"}],
        "password": {"b": 1},
    }
    raw = event(extra=fields, password="q")
    for quoted in ('extra."addr.remote"', "extra['addr.remote']", 'extra["addr.remote"]'):
        assert redacted(raw, {"field": quoted})["extra"]["addr.remote"] == "***"
    out = redacted(
        raw, {"field": 'extra."authorization.k8s.io/decision"', "action": "drop"}, {"field": "**.password"}
    )
    assert (out["password"], out["extra"]) == (
        "***", {"addr.remote": "1", "a": [{"password": "***"}], "password": "***"},
    )  # fmt: skip
    below = redacted(raw, {"field": "extra.**.password"})
    assert (below["password"], below["extra"]["a"], below["extra"]["password"]) == (
        "q",
        [{"password": "***"}],
        "***",
    )


def test_what_has_a_meaning_at_the_top_is_not_meant_by_any_depth():
    raw = event(eventId=EVENT_ID, extra={"eventId": "x", "eventType": "y"})
    out = redacted(raw, {"field": "**.eventId"}, {"field": "**.eventType", "action": "drop"})
    assert (out["eventId"], out["eventType"], out["extra"]) == (EVENT_ID, "auth.login", {"eventId": "***"})


def test_the_events_that_a_rule_has_changed_are_counted():
    rules = (
        {"id": "counted-one", "field": "extra.a"},
        {"id": "counted-two", "detector": "card"},
        {"id": "counted-none", "field": "extra.addr.remote"},
    )
    redactor = compile_redaction(configured(*rules))
    redactor.redact(
        [event(extra={"a": "1"}), event(extra={"a": CARD, "b": CARD}), event(extra={"addr.remote": "1"})]
    )
    redactor.redact([event(extra={"a": "2"})])
    counts = metrics.redacted()
    assert (counts["counted-one"], counts["counted-two"], counts["counted-none"]) == (3, 1, 0)


def test_rules_act_in_order_on_what_the_one_before_has_left():
    raw = event(extra={"note": f"{CARD} a@example.org"})
    rules = {"detector": "card"}, {"field": "extra.note", "action": "hash"}
    assert redacted(raw, *rules)["extra"]["note"] == hashed("*** a@example.org")


def test_the_rules_of_a_tenant_follow_the_global_ones_with_a_key_and_mask_of_their_own():
    tenants = configured(
        {"field": "extra.b", "action": "hash"}, {"field": "extra.c"}, key="k" * 16, mask="gone"
    )
    redactor = compile_redaction(configured({"field": "extra.a"}), tenants)
    (result,) = redactor.redact([event(extra={"a": "1", "b": "2", "c": "3"})])
    assert json.loads(result)["extra"] == {"a": "***", "b": hashed("2", "k" * 16), "c": "gone"}


def test_without_rules_there_is_nothing_to_do():
    assert compile_redaction() is None
    assert compile_redaction(RedactionConfig(), configured({"field": "extra.a"}, enabled=False)) is None


def test_strategy_is_another_name_of_action():
    raw = event(extra={"a": 1})
    assert redacted(raw, {"field": "extra.a", "strategy": "drop"})["extra"] == {}
    (problem,) = problems({"field": "a", "strategy": "drop", "action": "mask"})
    assert problem == "strategy is another name of action: both are given / keep one of the two"


def test_the_manifest_lists_the_rules_that_changed_something_and_never_a_value():
    rules = (
        {"id": "who", "field": "extra.userId"},
        {"field": "extra.x"},
        {"field": "extra", "detector": "card"},
    )
    out = redacted(event(extra={"userId": "amara", "note": CARD}), *rules, manifest=True)
    assert out["redaction"] == ["who", "extra:card"]
    out = redacted(event(extra={"userId": "amara"}), *rules, manifest=True)
    assert out["redaction"] == ["who"]


def test_with_a_manifest_the_field_is_the_servers():
    raw = event(redaction=["forged"])
    assert "redaction" not in redacted(raw, {"field": "extra.x"}, manifest=True)
    assert redacted(raw, {"field": "extra.x"})["redaction"] == ["forged"]
    assert redacted(event(redaction=CARD), {"detector": "card"})["redaction"] == "***"


def test_a_rule_that_hashes_needs_a_key():
    (problem,) = problems({"field": "extra.a", "action": "hash"})
    assert problem.startswith("a rule hashes, but there is no key / ")
    assert "AUDITFLOW_REDACTION_KEY" in problem


@pytest.mark.parametrize("key", ["", "fifteen letters"])
def test_a_key_that_can_be_guessed_is_refused_and_not_repeated(key: str):
    (problem,) = problems({"field": "extra.a", "action": "hash"}, key=key)
    assert "at least 16 characters" in problem
    assert not key or key not in problem


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "names neither a field nor a detector"),
        ({"field": "extra..a"}, "not the path of a field"),
        ({"field": "eventId"}, "eventId cannot be redacted"),
        ({"field": "tenantId", "action": "drop"}, "tenantId cannot be redacted"),
        ({"field": "timestamp", "detector": "ip"}, "timestamp cannot be redacted"),
        ({"field": "sourceSystem", "action": "drop"}, "sourceSystem cannot be dropped"),
        ({"field": "eventType", "strategy": "drop"}, "eventType cannot be dropped"),
        ({"field": "extra"}, "extra can only be dropped"),
        ({"field": "eventTime", "action": "hash"}, "eventTime can only be dropped"),
        ({"field": "eventTime", "detector": "card"}, "eventTime can only be dropped"),
        ({"field": "geolocation.lat"}, "geolocation.lat can only be dropped"),
        ({"field": "geolocation.*"}, "geolocation.* can only be dropped"),
        ({"field": "geolocation.countryCode"}, "geolocation.countryCode can only be dropped"),
        ({"field": "a", "action": "encrypt"}, "must be 'mask', 'hash' or 'drop'"),
        ({"detector": "mail"}, "must be 'email'"),
        ({"field": "a", "id": "a b"}, "match pattern"),
        ({"feild": "a"}, "unknown property / did you mean field?"),
    ],
)
def test_a_rule_that_would_not_work_is_refused_when_it_is_read(rule: dict[str, Any], said: str):
    assert any(said in problem for problem in problems(rule, key=KEY))


@pytest.mark.parametrize(
    "rule",
    [
        {"field": "eventType"},
        {"field": "sourceSystem", "action": "hash"},
        {"field": "correlationId"},
        {"field": "geolocation", "action": "drop"},
        {"field": "geolocation.lat", "action": "drop"},
        {"field": "geolocation.city"},
        {"field": "geolocation", "detector": "email"},
        {"field": "extra", "detector": "card"},
        {"field": "extra", "action": "drop"},
    ],
)
def test_a_rule_that_leaves_an_event_is_accepted(rule: dict[str, Any]):
    assert configured(rule).rules


@pytest.mark.parametrize(
    "mask", ["", "x" * 65, 'say "no"', "back\\slash", "two\nlines", "::1", "x@example.org"]
)
def test_a_mask_that_would_not_do_is_refused(mask: str):
    assert problems({"field": "extra.a"}, mask=mask)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"eventType": "a@example.org"}, {"detector": "email", "action": "drop"}),
        (
            {"correlationId": "a@example.org"},
            {"detector": "email", "action": "hash", "field": "correlationId"},
        ),
    ],
)
def test_what_would_be_no_event_any_more_is_refused_without_its_value(
    fields: dict[str, str], rule: dict[str, str]
):
    fields = {
        name: f"{value} {'x' * 20}" if name == "correlationId" else value for name, value in fields.items()
    }
    with pytest.raises(RedactionFailed) as raised:
        redacted(event(**fields), rule)
    error = raised.value
    assert (error.status, error.code) == (422, "REDACTION_FAILED")
    assert rule.get("field", "eventType") in str(error)
    assert "example.org" not in error.explained()
