"""Per-pipeline Prometheus metrics, read from journal and ledger when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from auditflow.api.status import Status

_COUNTERS = {
    "accepted": "Events the pipeline is accountable for.",
    "delivered": "Events its destination has confirmed.",
    "filtered": "Events its condition, sampling or transformer left out.",
    "attempts": "Calls to its sink.",
    "possibleDuplicates": "Events sent again after an end that left it open whether they had arrived.",
}
_GAUGES = {
    "pending": "Events not yet at an end.",
    "replaying": "Those of them that are delivered anew: dead letters, and a replay from the journal.",
    "backfilling": "Events delivered by the fallback that the sink is to get, too.",
    "deadLettered": "Events that ended as dead letters; a replay takes them out again.",
    "oldestPendingAgeSeconds": "Age of the oldest of them.",
}
_LABELS = ["pipeline", "tenant"]
_STATES = ("active", "retrying", "blocked", "fallback", "paused")


class PipelineCollector(Collector):
    """Turns a status reading into metric families."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Give one family per figure, with the pipeline's name and tenant as labels."""
        rows = self._status.pipelines()
        for key, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"auditflow_pipeline_{_snake(key)}", text, labels=_LABELS)
            for row in rows:
                counter.add_metric(_labels(row), row[key])
            yield counter
        for key, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"auditflow_pipeline_{_snake(key)}", text, labels=_LABELS)
            for row in rows:
                gauge.add_metric(_labels(row), row[key])
            yield gauge
        state = GaugeMetricFamily(
            "auditflow_pipeline_state", "1 for the state it is in.", labels=[*_LABELS, "state"]
        )
        for row in rows:
            for name in _STATES:
                state.add_metric([*_labels(row), name], float(row["state"] == name))
        yield state
        yield GaugeMetricFamily(
            "auditflow_journal_bytes", "Size of the journal.", self._status.journal()["bytes"]
        )


def _labels(row: dict[str, Any]) -> list[str]:
    return [row["name"], row["tenant"]]


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
