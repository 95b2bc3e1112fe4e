import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditflow.api import ingest_app
from auditflow.api.status import Status
from auditflow.apps.server import Server, bind
from auditflow.cli import main
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Publish
from auditflow.journal.memory import MemoryJournal, MemoryLedger
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


@pytest.fixture
def server() -> Iterator[Running]:
    """Serve publishing and status over real HTTP, with one pipeline that never delivers, from memory."""
    journal, ledger = MemoryJournal(), MemoryLedger()
    ledger.register(["everything"], journal.head(), journal.oldest())
    publish = Publish(journal, Limits())
    app = ingest_app.build(publish, Status(journal, ledger, time.time), publish.unavailable)
    listener = bind("127.0.0.1", 0, "--port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(app, 1.0)
    thread = threading.Thread(target=lambda: asyncio.run(server.run_on(listener)))
    thread.start()
    yield Running(url, journal)
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
