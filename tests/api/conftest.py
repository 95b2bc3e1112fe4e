import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auditflow.api.ingest_app import Operating
from auditflow.api.operate.events import Where
from auditflow.api.operate.status import Status
from auditflow.apps.operator import Operator
from auditflow.apps.operator_audit import AuditedCommands
from auditflow.ingest.operator_audit import OperatorAudit
from auditflow.journal import Journal
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger import Ledger
from auditflow.ledger.commands import Commands


@pytest.fixture
def client() -> Callable[[Any], httpx2.AsyncClient]:
    """Give a client of an ASGI app; what the app raises shows as its answer, as over a socket."""

    def client(app: Any) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://auditflow")

    return client


@pytest.fixture
def operating(tmp_path: Path) -> Callable[[Journal, Ledger], Operating]:
    """Give what the operating calls work on, over a journal and a ledger."""

    def operating(journal: Journal, ledger: Ledger) -> Operating:
        status = Status(journal, ledger, time.time)
        commands, where = Commands(tmp_path / "commands"), Where(journal, ledger, dict)
        return Operating(status, ledger, journal, commands, where, lambda: {"loadedAt": None, "problems": []})

    return operating


async def nothing_changed() -> list[str]:
    return []


@pytest.fixture
def delivering(tmp_path: Path) -> Any:
    """Stand in for the delivery process, which carries out commands."""

    @asynccontextmanager
    async def delivering(ledger: Ledger) -> AsyncIterator[None]:
        commands = AuditedCommands(tmp_path / "commands", OperatorAudit(tmp_path))
        operator = Operator(commands, MemoryJournal(), ledger, lambda accounts: None, nothing_changed)
        working = asyncio.create_task(operator.run())
        yield
        working.cancel()

    return delivering
