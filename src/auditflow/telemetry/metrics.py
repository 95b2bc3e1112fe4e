"""Prometheus metrics of the ingest process, declared once.

Per-pipeline figures are not counted a second time here: `auditflow.api.operate.metrics` reads them from the ledger.
"""
# Tested in tests/api/operate/test_metrics.py.

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()

PUBLISH_REQUESTS = Counter(
    "auditflow_publish_requests", "Publish calls answered, by HTTP status.", ["status"], registry=REGISTRY
)
EVENTS = Counter(
    "auditflow_ingest_events",
    "Events received: accepted, duplicate, rejected.",
    ["outcome"],
    registry=REGISTRY,
)
REFUSED = Counter(
    "auditflow_refused_calls",
    "Calls refused for want of a right to make them.",
    ["reason"],
    registry=REGISTRY,
)
REDACTED = Counter(
    "auditflow_redacted_events", "Events that a redaction rule has changed.", ["rule"], registry=REGISTRY
)

for _outcome in ("accepted", "duplicate", "rejected"):
    EVENTS.labels(_outcome)  # a counter that is 0 is there to be seen
PUBLISH_REQUESTS.labels("200")
for _reason in ("missing", "key", "token", "expired", "claims", "gateway", "repeated", "scope"):
    REFUSED.labels(_reason)

_events = cache(EVENTS.labels)
_requests = cache(PUBLISH_REQUESTS.labels)
_redacted = cache(REDACTED.labels)


def count_events(outcome: str, count: int) -> None:
    """Count events of publish calls: accepted, duplicate or rejected. Looking up a label costs more than counting."""
    if count:
        _events(outcome).inc(count)


def count_request(status: int, count: int = 1) -> None:
    """Count publish calls by the status of their answer."""
    _requests(str(status)).inc(count)


def count_redacted(rule: str, count: int) -> None:
    """Count events that a redaction rule has changed; 0 makes the rule known."""
    _redacted(rule).inc(count)


def redacted() -> dict[str, int]:
    """Give how many events each redaction rule has changed since the process began."""
    (family,) = REDACTED.collect()
    return {each.labels["rule"]: int(each.value) for each in family.samples if each.name.endswith("_total")}
