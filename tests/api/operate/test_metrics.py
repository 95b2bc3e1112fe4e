import json
import uuid

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from auditflow.api.operate.metrics import PipelineCollector
from auditflow.api.operate.status import Status
from auditflow.journal import AppendBatch
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Progress, Update
from auditflow.ledger.memory import MemoryLedger


async def test_every_figure_of_the_status_is_a_metric_with_the_pipeline_as_label():
    journal, ledger = MemoryJournal(), MemoryLedger()
    ledger.register(["a", "b"], journal.head(), journal.oldest())
    await journal.append(AppendBatch([b"{}"] * 5, [str(uuid.uuid4()) for _ in range(5)], [""] * 5))
    ledger.commit([Update("a", Progress(4), delivered=2, filtered=1, attempts=7)])
    ledger.note({"b": json.dumps({"state": "blocked"})})
    registry = CollectorRegistry()
    registry.register(PipelineCollector(Status(journal, ledger, lambda: 0.0)))

    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    row = {
        name: samples[f"auditflow_pipeline_{name}", "a"]
        for name in (
            "accepted_total",
            "delivered_total",
            "filtered_total",
            "dead_lettered",
            "replaying",
            "pending",
        )
    }
    assert list(row.values()) == [5, 2, 1, 0, 0, 2]
    assert samples["auditflow_pipeline_attempts_total", "a"] == 7
    assert samples["auditflow_pipeline_pending", "b"] == 5
    assert samples["auditflow_pipeline_possible_duplicates_total", "b"] == 0
    assert samples["auditflow_journal_bytes",] == 10
    states = {
        (key[1], key[2]): value for key, value in samples.items() if key[0] == "auditflow_pipeline_state"
    }
    assert {key for key, value in states.items() if value} == {("a", "active"), ("b", "blocked")}
    assert len(states) == 10
