import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auditflow.errors import InvalidRequest
from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp

pytestmark = pytest.mark.usefixtures("no_aws_configuration")

Run = Callable[..., Any]
EVENT_ID = "0190163d-8694-739b-aea5-966c26f8ad90"
CLOUDWATCH: dict[str, Any] = {"log-group": "/acme/{{ tenantId:-none }}", "log-stream": "{{ sourceSystem }}"}


def event(**more: Any) -> dict[str, Any]:
    return {"eventId": EVENT_ID, "eventType": "auth.login", "sourceSystem": "web", **more}


def configured(**pipeline: Any) -> None:
    sink = {"name": "aws_cloudwatch_sink", "properties": CLOUDWATCH | pipeline.pop("properties", {})}
    Path("auditflow.yaml").write_text(json.dumps({"pipelines": [{"name": "a", "sink": sink, **pipeline}]}))


def explained(auditflow: Run, given: dict[str, Any], *more: str) -> dict[str, Any]:
    Path("event.json").write_text(json.dumps(given))
    answer = auditflow("explain", "event.json", "--format", "json", *more)
    assert answer.code == 0, answer.err
    (pipeline,) = json.loads(answer.out)["pipelines"]
    return dict(pipeline)


def text(auditflow: Run, given: dict[str, Any]) -> str:
    Path("event.json").write_text(json.dumps(given))
    answer = auditflow("explain", "event.json")
    assert answer.code == 0, answer.err
    return str(answer.out)


def test_each_rule_says_what_it_found_and_expected(auditflow: Run) -> None:
    rules = [
        {"field": "eventType", "operator": "startsWith", "value": "auth."},
        {"field": "extra.items[1].sku", "operator": "in", "value": ["x", "y"]},
        {"field": "extra.missing", "operator": "eq", "value": "z"},
    ]
    configured(condition={"match": "any", "rules": rules})
    found = explained(auditflow, event(extra={"items": [1, {"sku": "n"}]}))
    assert (found["result"], found["match"]) == ("taken", "any")
    assert [(rule["found"], rule["expected"], rule["holds"]) for rule in found["rules"]] == [
        ("auth.login", "auth.", True),
        ("n", ["x", "y"], False),
        (None, "z", False),
    ]
    said = text(auditflow, event())
    assert 'yes  eventType startsWith "auth."; found "auth.login"' in said
    assert 'no   extra.missing eq "z"; found nothing' in said


def test_a_condition_that_does_not_hold_ends_there(auditflow: Run) -> None:
    configured(condition={"rules": [{"field": "tenantId", "operator": "exists"}]})
    found = explained(auditflow, event())
    assert (found["result"], found["messages"]) == ("no-match", [])
    assert "a: does not take it: its condition does not hold" in text(auditflow, event())


def test_sampling_goes_by_the_event_id(auditflow: Run) -> None:
    configured(sample=0)
    found = explained(auditflow, event())
    assert (found["result"], found["sample"]) == ("sampled-out", {"rate": 0, "kept": False})
    given = event()
    del given["eventId"]
    assert "new for this run" in text(auditflow, given)


def test_a_disabled_pipeline_is_explained_as_if_it_ran(auditflow: Run) -> None:
    configured(enabled=False)
    assert explained(auditflow, event())["enabled"] is False
    assert "a: disabled; if it were not, it takes it" in text(auditflow, event())


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return {'tenantId': 'beta', 'sourceSystem': 'web'}", "taken"),
        ("return None", "dropped-by-transformer"),
        ("raise KeyError('nope')", "transformer-failed"),
    ],
)
def test_the_message_is_what_the_transformers_make(auditflow: Run, body: str, result: str) -> None:
    Path("mine/transformers").mkdir(parents=True)
    Path("mine/transformers/my_transformer.py").write_text(f"def transform(input_data):\n    {body}\n")
    configured(transformer={"name": "my_transformer"})
    found = explained(auditflow, event(tenantId="acme"), "--plugins", "mine")
    assert found["result"] == result
    if result == "taken":
        (message,) = found["messages"]
        assert message["message"] == '{"tenantId":"beta","sourceSystem":"web"}'
        assert message["cloudwatch"]["logGroup"] == "/acme/beta"
    if result == "transformer-failed":
        assert found["reason"] == "KeyError: 'nope'"


def test_the_place_size_and_time_in_cloudwatch_are_told(
    auditflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    configured()
    moment = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds")[:-6] + "Z"
    (message,) = explained(auditflow, event(eventTime=moment, tenantId="acme"))["messages"]
    assert message["cloudwatch"] == {
        "region": "eu-central-1",
        "logGroup": "/acme/acme",
        "logStream": "web",
        "bytes": len(message["message"].encode()) + 26,
        "time": moment,
        "clamped": None,
        "parts": [],
        "refused": None,
    }
    assert f"bytes as CloudWatch Logs counts them, filed under {moment}" in text(
        auditflow, event(eventTime=moment)
    )


@pytest.mark.parametrize(
    ("age", "retention", "why"),
    [
        (timedelta(days=20), None, "more than 14 days old"),
        (timedelta(hours=-5), None, "more than 2 hours ahead"),
        (timedelta(days=2), 1, "older than the log group's retention"),
    ],
)
@pytest.mark.parametrize("out_of_window", ["clamp", "dead-letter"])
def test_what_is_out_of_the_window_is_clamped_or_refused(
    auditflow: Run, out_of_window: str, age: timedelta, retention: int | None, why: str
) -> None:
    configured(properties={"out-of-window": out_of_window, "retention-in-days": retention})
    own = (datetime.now(UTC) - age).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    place = explained(auditflow, event(eventTime=own))["messages"][0]["cloudwatch"]
    if out_of_window == "clamp":
        assert place["refused"] is None
        assert why in place["clamped"]["reason"]
        assert place["clamped"]["from"] == own
        assert place["time"] != own
    else:
        assert place["clamped"] is None
        assert why in place["refused"]["reason"]
        assert "refused, a dead letter" in text(auditflow, event(eventTime=own))


@pytest.mark.parametrize("oversize", ["split", "dead-letter"])
def test_what_is_too_large_is_split_or_refused(auditflow: Run, oversize: str) -> None:
    configured(properties={"oversize": oversize})
    place = explained(auditflow, event(extra={"text": "x" * 1_100_000}))["messages"][0]["cloudwatch"]
    if oversize == "split":
        assert len(place["parts"]) == 2
        assert max(place["parts"]) <= 1_048_576
    else:
        assert place["refused"]["code"] == "EVENT_TOO_LARGE"
    assert len(text(auditflow, event(extra={"text": "x" * 1_100_000}))) < 10_000


@pytest.mark.parametrize(
    "raw",
    [b'{"eventType":"x"}', b'{"eventType":1,"sourceSystem":"web"}', b"{", b"", b"[]", b'{"a":"\xff"}'],
)
def test_an_invalid_event_gets_the_message_of_the_publish_call(auditflow: Run, raw: bytes) -> None:
    configured()
    Path("event.json").write_bytes(raw)
    answer = auditflow("explain", "event.json")
    decoded = decode([raw], Stamp("2026-01-31T12:00:00Z", "x"), Limits())
    error = decoded.rejected[0].error
    assert isinstance(error, InvalidRequest)
    assert (answer.code, answer.out, answer.err) == (1, "", f"auditflow: {error}\n")


def test_the_event_may_come_from_standard_input(auditflow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    configured()
    stdin = SimpleNamespace(buffer=io.BytesIO(json.dumps(event()).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert auditflow("explain", "-").out.startswith(f"event {EVENT_ID}\n")


def test_one_event_at_a_time_is_explained(auditflow: Run) -> None:
    configured()
    Path("events.ndjson").write_text(f"{json.dumps(event())}\n{json.dumps(event())}\n")
    answer = auditflow("explain", "events.ndjson")
    assert (answer.code, answer.out) == (2, "")
    assert "events.ndjson holds several events: give one" in answer.err


def test_an_event_may_be_written_over_several_lines(auditflow: Run) -> None:
    configured()
    Path("event.json").write_text(json.dumps(event(), indent=2))
    assert auditflow("explain", "event.json").code == 0


def test_a_file_that_is_not_there_is_said(auditflow: Run) -> None:
    configured()
    answer = auditflow("explain", "nowhere.json")
    assert answer.code == 1
    assert "nowhere.json cannot be read: No such file or directory" in answer.err


def test_redaction_is_explained_first_and_pipelines_see_what_is_left(auditflow: Run) -> None:
    configured(condition={"rules": [{"field": "extra.email", "operator": "exists"}]})
    given = json.loads(Path("auditflow.yaml").read_text())
    rules = [
        {"field": "extra.email", "action": "drop"},
        {"id": "cards", "detector": "card"},
        {"field": "extra.x"},
    ]
    Path("auditflow.yaml").write_text(json.dumps(given | {"redaction": {"rules": rules}}))
    sent = event(extra={"email": "amara@example.org", "notes": ["4111 1111 1111 1111"]})
    found = explained(auditflow, sent)
    assert found["result"] == "no-match"
    answer = json.loads(auditflow("explain", "event.json", "--format", "json").out)
    assert answer["redaction"] == [
        {"rule": "extra.email", "action": "drop", "fields": ["extra.email"]},
        {"rule": "cards", "action": "mask", "fields": ["extra.notes[0]"]},
        {"rule": "extra.x", "action": "mask", "fields": []},
    ]
    said = text(auditflow, sent)
    assert (
        "  extra.email, drop: extra.email\n  cards, mask: extra.notes[0]\n  extra.x, mask: nothing\n" in said
    )
    assert "amara@example.org" not in said
    assert "4111" not in said


def test_a_number_out_of_range_does_not_stop_the_explanation(auditflow: Run) -> None:
    configured(condition={"rules": [{"field": "extra.n", "operator": "gt", "value": 5}]})
    Path("event.json").write_text(json.dumps(event(extra={"n": "N"})).replace('"N"', "1e400"))
    answer = auditflow("explain", "event.json")
    assert (answer.code, answer.err) == (0, "")
    assert 'yes  extra.n gt "5"; found 1e400' in answer.out
    assert '"found": 1e400,' in auditflow("explain", "event.json", "--format", "json").out


def test_an_event_that_cannot_be_redacted_is_refused_as_publishing_would(auditflow: Run) -> None:
    redaction = {"rules": [{"detector": "email", "action": "drop"}]}
    Path("auditflow.yaml").write_text(json.dumps({"redaction": redaction}))
    Path("event.json").write_text(json.dumps(event(eventType="a@example.org")))
    answer = auditflow("explain", "event.json")
    assert (answer.code, answer.out) == (1, "")
    assert "The event cannot be redacted, so it is not accepted" in answer.err


def test_secrets_are_not_shown(auditflow: Run) -> None:
    configured(properties={"access-key-id": "AKIAEXAMPLE", "secret-access-key": "very-secret"})
    for shown in (text(auditflow, event()), json.dumps(explained(auditflow, event()))):
        assert "AKIAEXAMPLE" not in shown
        assert "very-secret" not in shown


@pytest.fixture
def tenants(no_aws_configuration: None) -> None:
    """Two tenants, one of them disabled, beside a pipeline for everybody else's events."""
    configured()
    main = json.loads(Path("auditflow.yaml").read_text())
    Path("auditflow.yaml").write_text(json.dumps(main | {"tenants": {"directory": "tenants"}}))
    Path("tenants").mkdir()
    keys = {"access-key-id": "AKIA", "secret-access-key": "${secretRef:key}"}
    sink = {"name": "aws_cloudwatch_sink", "properties": CLOUDWATCH | keys}
    acme = {
        "tenantId": "acme",
        "redaction": {"rules": [{"field": "extra.email", "action": "mask"}]},
        "pipelines": [{"name": "own", "sink": sink}, {"name": "off", "enabled": False, "sink": sink}],
    }
    Path("tenants", "acme.yaml").write_text(json.dumps(acme))
    Path("tenants", "globex.yaml").write_text(json.dumps({"tenantId": "globex", "enabled": False}))


@pytest.mark.usefixtures("tenants")
def test_a_tenants_event_is_explained_by_the_tenants_own_pipelines_and_redaction(auditflow: Run) -> None:
    said = text(auditflow, event(tenantId="acme", extra={"email": "me@acme.example"}))
    assert said.startswith(f"event {EVENT_ID} of tenant acme\n")
    assert "\nacme/own: takes it\n" in said
    assert "\nacme/off: disabled; if it were not, it takes it\n" in said
    assert "log group /acme/acme, log stream web" in said, "although it refers to a secret"
    assert "extra.email, mask: extra.email" in said
    assert "me@acme.example" not in said
    assert "\na: " not in said


@pytest.mark.usefixtures("tenants")
def test_an_event_without_a_tenant_goes_through_the_pipelines_at_the_top(auditflow: Run) -> None:
    assert explained(auditflow, event())["name"] == "a"


@pytest.mark.usefixtures("tenants")
def test_an_event_can_be_explained_as_published_by_a_tenant(auditflow: Run) -> None:
    Path("event.json").write_text(json.dumps(event(tenantId="globex")))
    answer = auditflow("explain", "event.json", "--tenant", "acme", "--format", "json")
    found = json.loads(answer.out)
    assert (found["tenant"], [each["name"] for each in found["pipelines"]]) == (
        "acme",
        ["acme/own", "acme/off"],
    )
    assert '"tenantId":"acme"' in found["pipelines"][0]["messages"][0]["message"]
    assert auditflow("explain", "event.json", "--tenant", "a/b").code == 2


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("tenant", "answer"), [("globex", "Tenant 'globex' is disabled"), ("nobody", "is not provisioned")]
)
def test_events_of_other_tenants_are_refused_as_publishing_would(
    auditflow: Run, tenant: str, answer: str
) -> None:
    Path("event.json").write_text(json.dumps(event()))
    refused = auditflow("explain", "event.json", "--tenant", tenant)
    assert (refused.code, refused.out) == (1, "")
    assert answer in refused.err


@pytest.mark.usefixtures("tenants")
def test_a_broken_file_of_another_tenant_is_told_and_stops_nothing(auditflow: Run) -> None:
    Path("tenants", "other.yaml").write_text("tenantId: other\npiplines: []\n")
    Path("event.json").write_text(json.dumps(event(tenantId="acme")))
    answer = auditflow("explain", "event.json")
    assert answer.code == 0
    assert "left out: tenants/other.yaml:2:1: piplines: unknown property" in answer.err
