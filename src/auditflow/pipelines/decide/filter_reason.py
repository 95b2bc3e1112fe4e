"""Says why a pipeline has filtered an event."""

from __future__ import annotations

from auditflow.event.model import decode
from auditflow.pipelines.decide.condition import Condition, Rule, compile_condition
from auditflow.pipelines.decide.sample import keeps


def filter_reason(event: bytes, condition: Condition | None, sample: float) -> str | None:
    """Name the rule or the sampling that leaves the event out; None when neither does."""
    fields = decode(event)
    if condition is not None and not compile_condition(condition)(fields):
        if condition.match == "any":
            return "none of the condition's rules holds"
        n = next(n for n, rule in enumerate(condition.rules) if not _holds(rule, fields))
        return f"condition.rules[{n}] does not hold: {_text(condition.rules[n])}"
    if not keeps(sample)(fields["eventId"]):
        return f"sampled out: {sample:g} of the events are kept"
    return None


def _holds(rule: Rule, fields: dict[str, object]) -> bool:
    return compile_condition(Condition(rules=(rule,)))(fields)


def _text(rule: Rule) -> str:
    value = ", ".join(rule.value) if isinstance(rule.value, tuple) else rule.value or ""
    return f"{rule.field} {rule.operator} {value}".rstrip()
