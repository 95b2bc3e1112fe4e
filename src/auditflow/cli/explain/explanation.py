"""Works out what every pipeline makes of one event, with the code that does it in delivery."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import typer
import uuid_utils

from auditflow.apps.pipeline_runtime import decide_of
from auditflow.cli._shared.configuration import shown
from auditflow.cli.explain.cloudwatch import placed, placed_as_text
from auditflow.config import Config, PipelineConfig, Tenants
from auditflow.errors import RedactionFailed, UnreadableEvents
from auditflow.event.model import PLATFORM_TENANT, decode, encode
from auditflow.ingest.admission import Admission
from auditflow.ingest.decode import decode as accept
from auditflow.ingest.limits import Limits
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.ingest.stamp import Stamp, now_rfc3339
from auditflow.pipelines.decide.condition import Condition, Rule, compile_condition, reader
from auditflow.pipelines.decide.sample import keeps
from auditflow.plugin_call import printable
from auditflow.plugins import Catalogue
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

_SHOWN: Final = 2_000
"""Characters of a value or message in text; JSON has them whole."""
_BOM: Final = b"\xef\xbb\xbf"

Explained = dict[str, Any]


def read(source: Path) -> bytes:
    """Read the event's bytes; `-` is standard input. Raises UnreadableEvents, typer.BadParameter."""
    try:
        raw = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
    except OSError as error:
        raise UnreadableEvents(source=source, reason=error.strerror or error) from None
    event = raw.removeprefix(_BOM).strip()
    lines = event.splitlines()
    if len(lines) > 1 and all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
        raise typer.BadParameter(f"{source} holds several events: give one", param_hint="EVENT.json")
    return event


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is configured."""

    config: Config
    catalogue: Catalogue
    tenants: Tenants | None

    def pipelines(self, tenant: str) -> list[tuple[str, PipelineConfig]]:
        """Give the pipelines that get this tenant's events, disabled ones too, by the names that they have outside."""
        own = self.tenants.get(tenant) if self.tenants else None
        if own:
            return [(f"{tenant}/{each.name}", each) for each in own.pipelines]
        return [(each.name, each) for each in self.config.pipelines]

    def redactions(self, tenant: str) -> list[RedactionConfig]:
        """Give the rules for this tenant's events: everybody's, then its own."""
        own = self.tenants.get(tenant) if self.tenants else None
        return [self.config.redaction, *([own.redaction] if own else [])]


def explain(raw: bytes, around: Surroundings, tenant: str | None) -> Explained:
    """Explain an event; with `tenant`, as published by it.

    Raises InvalidRequest or TenantRefused, which say what a publish call would answer.
    """
    limits = Limits(event_bytes=around.config.server.max_event_bytes)
    decoded = accept([raw], Stamp(now_rfc3339(), str(uuid_utils.uuid7()), tenant), limits)
    refused = Admission(around.tenants.by_id if around.tenants else None).admit(decoded.batch.tenants)
    if rejected := decoded.without(refused).rejected:
        raise rejected[0].error
    (event,), (event_id,), (owner,) = decoded.batch.events, decoded.batch.ids, decoded.batch.tenants
    event, effects = _redacted(event, around.redactions(owner))
    return {
        "eventId": event_id,
        "eventIdGiven": bool(decoded.batch.supplied),
        "tenant": owner,
        "redaction": effects,
        "pipelines": [
            _pipeline(event, name, pipeline, around.catalogue) for name, pipeline in around.pipelines(owner)
        ],
    }


def _redacted(event: bytes, redactions: Iterable[RedactionConfig]) -> tuple[bytes, list[Explained]]:
    redactor = compile_redaction(*redactions)
    if redactor is None:
        return event, []
    effects = [asdict(effect) for effect in redactor.explain(event)]
    (redacted,) = redactor.redact([event])
    if isinstance(redacted, RedactionFailed):
        raise redacted
    return redacted, effects


def _pipeline(event: bytes, name: str, pipeline: PipelineConfig, catalogue: Catalogue) -> Explained:
    fields = decode(event)
    condition = pipeline.condition or Condition()
    kept = keeps(pipeline.sample)(fields["eventId"])
    explained: Explained = {
        "name": name,
        "enabled": pipeline.enabled,
        "result": "no-match",
        "reason": "",
        "match": condition.match,
        "rules": [_rule(rule, fields) for rule in condition.rules],
        "sample": {"rate": pipeline.sample, "kept": kept},
        "transformers": [each.name for each in pipeline.transformers],
        "sink": pipeline.sink.name,
        "messages": [],
    }
    if not compile_condition(condition)(fields):
        return explained
    if not kept:
        return explained | {"result": "sampled-out"}
    return explained | _decided(event, pipeline, catalogue)


def _decided(event: bytes, pipeline: PipelineConfig, catalogue: Catalogue) -> Explained:
    decided = decide_of(pipeline, catalogue)([1], [event])
    if decided.failed:
        return {"result": "transformer-failed", "reason": decided.failed[0][2]}
    messages = [_message(each, pipeline) for each in decided.events]
    return {"result": "taken" if messages else "dropped-by-transformer", "messages": messages}


def _rule(rule: Rule, fields: dict[str, Any]) -> Explained:
    return {
        "field": rule.field,
        "operator": rule.operator,
        "expected": list(rule.value) if isinstance(rule.value, tuple) else rule.value,
        "found": reader(rule.field)(fields),
        "holds": compile_condition(Condition(rules=(rule,)))(fields),
    }


def _message(event: bytes, pipeline: PipelineConfig) -> Explained:
    properties = shown(pipeline.sink)
    place = placed(event, properties) if isinstance(properties, CloudWatchProperties) else None
    return {"message": event.decode(), "bytes": len(event), "cloudwatch": place}


_RESULTS: Final = {
    "taken": "takes it",
    "no-match": "does not take it: its condition does not hold",
    "sampled-out": "does not take it: sampled out",
    "transformer-failed": "dead-letters it: a transformer fails",
    "dropped-by-transformer": "does not deliver it: a transformer drops it",
}


def as_text(explained: Explained) -> str:
    """Write an explanation for people."""
    made = "" if explained["eventIdGiven"] else ", new for this run, so sampling may differ"
    of = "" if explained["tenant"] == PLATFORM_TENANT else f" of tenant {explained['tenant']}"
    lines = [f"event {explained['eventId']}{of}{made}"]
    lines += ["", "redaction, before anything is stored:"] if explained["redaction"] else []
    lines += [f"  {_effect_as_text(effect)}" for effect in explained["redaction"]]
    for pipeline in explained["pipelines"]:
        disabled = "" if pipeline["enabled"] else "disabled; if it were not, it "
        lines += ["", f"{pipeline['name']}: {disabled}{_RESULTS[pipeline['result']]}"]
        lines += [f"  {line}" for line in _details(pipeline)]
    if not explained["pipelines"]:
        lines.append("no pipelines are configured for it")
    return "\n".join(lines)


def _effect_as_text(effect: Explained) -> str:
    fields = _cut(", ".join(effect["fields"])) or "nothing"
    return f"{effect['rule']}, {effect['action']}: {fields}"


def _details(pipeline: Explained) -> Iterator[str]:
    if pipeline["rules"]:
        yield f"condition, {pipeline['match']} of:"
        for rule in pipeline["rules"]:
            yield f"  {'yes' if rule['holds'] else 'no ':3}  {_rule_as_text(rule)}"
    else:
        yield "condition: none, every event"
    if pipeline["sample"]["rate"] < 1:
        kept = "in" if pipeline["sample"]["kept"] else "out"
        yield f"sample {pipeline['sample']['rate']:g}: this event id is {kept}"
    yield f"transformers: {', '.join(pipeline['transformers'])}"
    if pipeline["reason"]:
        yield f"reason: {pipeline['reason']}"
    for message in pipeline["messages"]:
        yield f"message, {message['bytes']:,} bytes: {_cut(message['message'])}"
        if message["cloudwatch"]:
            yield from placed_as_text(message["cloudwatch"])
        else:
            yield f"sink: {pipeline['sink']}"


def _rule_as_text(rule: Explained) -> str:
    found = "nothing" if rule["found"] is None else _value(rule["found"])
    expected = "" if rule["expected"] is None else f" {_value(rule['expected'])}"
    return f"{rule['field']} {rule['operator']}{expected}; found {found}"


def _value(value: Any) -> str:
    return _cut(encode(value).decode())


def _cut(text: str) -> str:
    return printable(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]} …")
