"""Per-pipeline Prometheus metrics, read from journal and ledger when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from auditflow.api.operate.status import Status
from auditflow.event.model import PLATFORM_TENANT

_COUNTERS = {
    "accepted": "Events the pipeline is accountable for.",
    "delivered": "Events its destination has confirmed.",
    "filtered": "Events its condition, sampling or transformer left out.",
    "attempts": "Calls to its sink.",
    "possibleDuplicates": "Events sent again after an end that left it open whether they had arrived.",
}
_GAUGES = {
    "pending": "Events not yet at an end.",
    "replaying": "Those of them that are being delivered again: dead letters, and a replay from the journal.",
    "backfilling": "Events delivered by the fallback that the sink is to get, too.",
    "deadLettered": "Events that ended as dead letters; a replay takes them out again.",
    "oldestPendingAgeSeconds": "Age of the oldest of them.",
}
_STATES = ("active", "retrying", "blocked", "fallback", "paused")


class PipelineCollector(Collector):
    """Turns a status reading into metric families."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Give one family per figure, with the pipeline's name as label and, of a tenant's, the tenant."""
        rows = self._status.pipelines()
        for key, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"auditflow_pipeline_{_snake(key)}", text)
            for row in rows:
                counter.add_sample(f"{counter.name}_total", _labels(row), row[key])
            yield counter
        for key, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"auditflow_pipeline_{_snake(key)}", text)
            for row in rows:
                gauge.add_sample(gauge.name, _labels(row), row[key])
            yield gauge
        state = GaugeMetricFamily("auditflow_pipeline_state", "1 for the state it is in.")
        for row in rows:
            for name in _STATES:
                state.add_sample(state.name, _labels(row) | {"state": name}, float(row["state"] == name))
        yield state
        yield GaugeMetricFamily(
            "auditflow_journal_bytes", "Size of the journal.", self._status.journal()["bytes"]
        )


def _labels(row: dict[str, Any]) -> dict[str, str]:
    tenant = row["tenant"]
    return {"pipeline": row["name"]} | ({} if tenant == PLATFORM_TENANT else {"tenant": tenant})


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
