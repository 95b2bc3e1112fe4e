"""A reload over HTTP is carried out by the delivery process."""

from __future__ import annotations

from auditflow.api import ingest_app
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger


async def test_a_reload_says_what_has_changed(client, operating, delivering):
    journal, ledger = MemoryJournal(), MemoryLedger()
    publish = Publish(journal, Limits())
    app = ingest_app.build(publish, operating(journal, ledger), publish.unavailable, 2**16)
    async with delivering(ledger), client(app) as ask:
        answer = await ask.post("/api/v1/reload")
    assert (answer.status_code, answer.json()) == (200, {"changed": []})
