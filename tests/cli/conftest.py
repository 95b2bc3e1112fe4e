import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditflow import config as configuration
from auditflow.api import ingest_app
from auditflow.api.ingest_app import Operating
from auditflow.api.operate.events import Where
from auditflow.api.operate.status import Status
from auditflow.apps.http.listener import bind
from auditflow.apps.http.server import Server
from auditflow.apps.operator import Operator
from auditflow.apps.operator_audit import AuditedCommands
from auditflow.cli import main
from auditflow.config import PipelineConfig
from auditflow.ingest.limits import Limits
from auditflow.ingest.operator_audit import OperatorAudit
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.memory import MemoryLedger
from auditflow.testing.cloudwatch import StrictCloudWatch


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def auditflow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run the command line in this process."""
    for name in os.environ:
        if name.startswith("AUDITFLOW_"):
            monkeypatch.delenv(name)

    def auditflow(*arguments: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["auditflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Answer(int(exit_.value.code or 0), captured.out, captured.err)

    return auditflow


@dataclass
class Running:
    url: str
    journal: MemoryJournal
    ledger: MemoryLedger


async def nothing_changed() -> list[str]:
    return []


async def run(server: Server, listener: socket.socket, operating: Operating) -> None:
    operator = Operator(
        operating.commands, operating.journal, operating.ledger, lambda accounts: None, nothing_changed
    )
    working = asyncio.create_task(operator.run())
    await server.run_on(listener)
    working.cancel()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve over real HTTP, from memory, with one pipeline that never delivers but does what operators ask."""
    journal, ledger = MemoryJournal(), MemoryLedger()
    ledger.register(["everything"], journal.head(), journal.oldest())
    publish = Publish(journal, Limits())
    data = tmp_path_factory.mktemp("data")
    commands = AuditedCommands(data / "commands", OperatorAudit(data))
    status = Status(journal, ledger, time.time)
    everything = PipelineConfig.model_validate({"name": "everything", "sink": {"name": "logging_sink"}})
    where = Where(
        journal, ledger, lambda: {"everything": configuration.Running("everything", "", everything)}
    )
    operating = Operating(
        status, ledger, journal, commands, where, lambda: {"loadedAt": None, "problems": []}
    )
    app = ingest_app.build(publish, operating, publish.unavailable, 2**20)
    listener = bind("127.0.0.1", 0, "--port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(app, 1.0)
    thread = threading.Thread(target=lambda: asyncio.run(run(server, listener, operating)))
    thread.start()
    yield Running(url, journal, ledger)
    server.stop()
    thread.join()


@pytest.fixture
def no_aws_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the machine's own AWS configuration out, and start in an empty folder."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cloud() -> Iterator[StrictCloudWatch]:
    with StrictCloudWatch() as cloud:
        yield cloud
