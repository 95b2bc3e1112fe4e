"""A data directory that cannot be used, is full, in use or damaged: nothing acknowledged is lost, and work goes on."""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import httpx2
import pytest

from .conftest import CLOUDWATCH, Serve, wait_for
from .test_bad_input import auditflow, write

GROUP = "/aws/auditflow/test"


class Client:
    """Publishes events and remembers which were acknowledged."""

    def __init__(self, serve: Serve) -> None:
        self.acknowledged: set[str] = set()
        self._serve = serve

    def publish(self, count: int = 20, size: int = 10) -> httpx2.Response | None:
        """Publish events with so many bytes that cannot be compressed; give the answer, if there is one."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        events = [
            {"eventType": "a", "sourceSystem": "b", "eventId": each, "extra": _noise(size)} for each in ids
        ]
        try:
            answer = self._serve.publish(*events)
        except httpx2.TransportError:
            return None
        if answer.status_code == 200:
            self.acknowledged.update(ids)
        return answer

    def publish_until(self, status: int, seconds: float = 40, **what: int) -> httpx2.Response:
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            answer = self.publish(**what)
            answers.extend([answer] if answer else [])
            return answer is not None and answer.status_code == status

        wait_for(answered, seconds, f"an answer of {status}")
        return answers[-1]


def _noise(size: int) -> dict[str, str]:
    return {"noise": base64.b64encode(os.urandom(size)).decode()}


def fill(file: Path) -> None:
    """Leave not a byte of the file system free."""
    with file.open("ab", buffering=0) as out:
        for size in (2**16, 4096, 1):
            with suppress(OSError):
                while out.write(bytes(size)) == size:
                    pass


def arrived(cloud) -> set[str]:
    return {json.loads(record.message)["eventId"] for record in cloud.events(GROUP)}


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


UNUSABLE: dict[str, Callable[[Path], Path]] = {
    "below a file": lambda folder: _file(folder / "file") / "data",
    "a file": lambda folder: _file(folder / "file"),
    "a link to nowhere": lambda folder: _link(folder / "link"),
    "a journal that is a folder": lambda folder: _folder(folder / "data" / "journal.sqlite").parent,
    "a ledger that is a folder": lambda folder: _folder(folder / "data" / "ledger.sqlite").parent,
    "a lock that is a folder": lambda folder: _folder(folder / "data" / "ingest.lock").parent,
    "a long name": lambda folder: folder / ("x" * 300),
    "a system directory": lambda _: Path("/proc/auditflow"),
}


def _file(path: Path) -> Path:
    path.write_text("not a folder")
    return path


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _link(path: Path) -> Path:
    path.symlink_to(path.parent / "nowhere" / "at" / "all")
    return path


@pytest.mark.parametrize("make", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_data_directory_is_named_with_what_to_do(tmp_path, make):
    write(tmp_path, "pipelines: []\n")
    directory = make(tmp_path)
    done = auditflow("serve", "--port", "0", "--sink-port", "0", "--data-dir", str(directory), cwd=tmp_path)
    assert done.returncode == 1
    assert directory.name[:20] in done.stderr
    assert "--data-dir" in done.stderr
    assert len(done.stderr) < 2500


def test_a_read_only_data_directory_is_named_with_what_to_do(tmp_path):
    write(tmp_path, "pipelines: []\n")
    with tmpfs(tmp_path / "data", "size=1m,ro") as directory:
        done = auditflow("serve", "--data-dir", str(directory), cwd=tmp_path)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert "--data-dir" in done.stderr


def test_a_second_serve_is_refused_and_the_first_goes_on(serve, cloud, tmp_path):
    running = serve(cloud=cloud)
    elsewhere = tmp_path / "elsewhere"  # the first one would put a change of its own file in force
    elsewhere.mkdir()
    write(elsewhere, "pipelines: []\n")
    command = ["serve", "--port", "0", "--sink-port", "0", "--data-dir", str(running.data)]
    for role in ("all", "delivery"):
        done = auditflow(*command, "--role", role, cwd=elsewhere)
        assert done.returncode == 1
        assert f"process {running.process.pid}" in done.stderr
        assert "--data-dir" in done.stderr
    client = Client(running)
    assert client.publish().status_code == 200
    assert running.settled()["delivered"] == 20


def test_a_full_data_directory_refuses_events_until_there_is_room(serve, cloud, tmp_path):
    with tmpfs(tmp_path / "data", "size=12m") as directory:
        cloud.fault("deny")
        running = serve(cloud=cloud)
        client = Client(running)
        client.publish_until(200)
        filling = directory / "filling"
        with filling.open("wb") as file:
            file.write(bytes(4 * 2**20))
        refused = client.publish_until(503, size=3000)
        assert refused.json()["code"] == "PUBLISH_FAILED"
        assert int(refused.headers["retry-after"]) >= 1
        assert str(directory) not in refused.text
        ready = httpx2.get(running.url + "/ready")
        assert ready.status_code == 503
        assert ready.json()["reason"]
        assert httpx2.get(running.url + "/live").status_code == 200
        assert running.status()["pending"] >= len(client.acknowledged)

        # not a byte is left for the ledger either, and the destination is back
        fill(filling)
        cloud.clear_faults()
        time.sleep(4)
        assert httpx2.get(running.url + "/live").status_code == 200
        assert httpx2.get(running.sink_url + "/live").status_code == 200

        filling.unlink()
        client.publish_until(200)
        wait_for(lambda: httpx2.get(running.url + "/ready").status_code == 200, 120, "ready again")
        running.settled()
        assert client.acknowledged <= arrived(cloud)
        assert running.status()["deadLettered"] == 0
        assert "Traceback" not in running.log
        assert "it starts again" not in running.log
        assert "No space left" in running.log or "full" in running.log
        assert running.stop() == 0


def test_a_start_on_a_full_disk_says_what_to_do_and_loses_nothing(serve, cloud, tmp_path):
    with tmpfs(tmp_path / "data", "size=8m") as directory:
        cloud.fault("deny")
        running = serve(cloud=cloud)
        client = Client(running)
        client.publish_until(200)
        assert running.stop() == 0
        filling = directory / "filling"
        fill(filling)
        cloud.clear_faults()
        done = auditflow("serve", "--port", "0", "--sink-port", "0", "--data-dir", str(directory),
                         "--config", str(running.config), cwd=tmp_path, environment=running.environment)  # fmt: skip
        assert done.returncode == 1
        assert "cannot be used" in done.stderr
        assert "--data-dir" in done.stderr
        filling.unlink()
        running.start()
        running.settled()
        assert client.acknowledged <= arrived(cloud)


def test_a_journal_at_max_size_refuses_events_until_the_destination_is_back(serve, cloud):
    cloud.fault("deny")
    running = serve(CLOUDWATCH + "journal: {max-size: 3MiB}\n", cloud=cloud)
    client = Client(running)
    refused = client.publish_until(503, size=3000)
    assert refused.json()["code"] == "PUBLISH_FAILED"
    assert int(refused.headers["retry-after"]) >= 1
    assert httpx2.get(running.url + "/ready").status_code == 503
    assert "auditflow status" in running.log
    assert running.status()["state"] == "blocked"
    assert sum(file.stat().st_size for file in running.data.glob("journal*")) < 4 * 2**20
    cloud.clear_faults()
    running.settled()
    assert client.acknowledged <= arrived(cloud)
    for _ in range(100):  # more than it holds: what is delivered makes room
        client.publish_until(200, size=3000)
    running.settled()
    assert client.acknowledged <= arrived(cloud)


def fold_log_into(path: Path) -> None:
    """Empty the write-ahead log into its file: as long as the log holds every page, the file's own do not count."""
    connection = apsw.Connection(str(path))
    connection.pragma("user_version")  # before its first read a connection knows of no log
    assert connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE) == (0, 0)
    connection.close()


def _flip_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        for place in range(100, path.stat().st_size, 997):
            file.seek(place)
            file.write(b"\xff\x00")


def _in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(content)


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(os.urandom(20_000))
    other.rename(path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "bytes flipped": _flip_in_place,
    "header flipped": lambda path: _in_place(path, b"\0" * 100 + path.read_bytes()[100:]),
    "truncated to a half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "truncated to nothing": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "replaced": _replace,
    "overwritten": lambda path: _in_place(path, b"garbage " * 5000),
}


@pytest.mark.parametrize("name", ["journal.sqlite", "ledger.sqlite"])
def test_files_damaged_while_stopped_are_fixed_at_the_next_start(serve, cloud, name):
    running = serve(cloud=cloud)
    client = Client(running)
    for kind in ("bytes flipped", "truncated to a half", "replaced"):
        damage = DAMAGE[kind]
        client.publish_until(200, size=500)
        running.settled()
        assert running.stop() == 0
        fold_log_into(running.data / name)
        damage(running.data / name)
        running.start()
        assert "set aside" in running.log or "lacks" in running.log, kind
        client.publish_until(200, size=500)
        running.settled()
        assert client.acknowledged <= arrived(cloud), kind
        assert "Traceback" not in running.log, kind
        assert httpx2.get(running.url + "/api/v1/status").json()["journal"]["incidents"], kind


@pytest.mark.parametrize("kind", ["bytes flipped", "replaced", "deleted"])
def test_a_damaged_ledger_with_a_backlog_loses_none_of_it(serve, cloud, kind):
    cloud.fault("deny")
    running = serve(cloud=cloud)
    client = Client(running)
    client.publish_until(200, count=500)
    assert running.stop() == 0
    DAMAGE[kind](running.data / "ledger.sqlite")
    cloud.clear_faults()
    running.start()
    running.settled()
    assert client.acknowledged <= arrived(cloud)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("journal.sqlite", "bytes flipped"),
        ("journal.sqlite", "deleted"),
        ("ledger.sqlite", "bytes flipped"),
        ("ledger.sqlite", "deleted"),
    ],
)
def test_files_damaged_while_running_are_fixed_and_work_goes_on(serve, cloud, name, kind):
    running = serve(cloud=cloud)
    client = Client(running)
    client.publish_until(200, size=500)
    running.settled()
    DAMAGE[kind](running.data / name)
    for _ in range(5):
        client.publish_until(200, size=500)
    wait_for(lambda: client.acknowledged <= arrived(cloud), 120, "delivery to go on")
    wait_for(lambda: _balanced(running), 120, "status to be right")
    assert "Traceback" not in running.log


def test_damage_that_only_a_reader_meets_is_fixed_too(serve, cloud):
    running = serve(cloud=cloud)
    client = Client(running)
    for _ in range(3):
        client.publish_until(200, count=50)
        running.settled()
    cloud.fault("deny")
    client.publish_until(200, count=50)
    wait_for(lambda: running.status()["state"] == "blocked", what="the pipeline to be blocked")
    DAMAGE["truncated to a half"](running.data / "ledger.sqlite")  # delivery has no reason to read it
    wait_for(lambda: _asked(running) and "set aside" in running.log, 120, "the damage to be found and fixed")
    cloud.clear_faults()
    wait_for(lambda: client.acknowledged <= arrived(cloud), 120, "delivery to go on")
    wait_for(lambda: _balanced(running), 120, "status to be right")
    assert "Traceback" not in running.log


def _asked(running: Serve) -> bool:
    """Ask for the status, which reads the ledger, until it is answered."""
    with suppress(httpx2.HTTPError):
        return httpx2.get(running.url + "/api/v1/status", timeout=60).status_code == 200
    return False


def _balanced(running: Serve) -> bool:
    try:
        return running.status()["pending"] == 0
    except (httpx2.HTTPError, KeyError, ValueError):
        return False


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_data_directory_that_goes_away_under_a_running_server_is_told_in_one_sentence(
    serve, cloud, tmp_path, how
):
    running = serve(cloud=cloud)
    running.publish({"eventType": "a", "sourceSystem": "b"})
    running.settled()
    if how == "removed":
        shutil.rmtree(running.data)
    else:
        running.data.rename(tmp_path / "elsewhere")
        running.data.mkdir(mode=0o700)
    assert running.process.wait(120) == 1
    assert "was removed or replaced while AuditFlow ran" in running.log
    assert "restore a backup" in running.log
    assert "Traceback" not in running.log


def test_at_the_limit_of_open_files_the_server_goes_on_and_names_it(serve, cloud):
    running = serve(cloud=cloud)
    running.publish({"eventType": "a", "sourceSystem": "b"})
    running.settled()
    roles = [running.role(role) for role in ("ingest", "delivery")]
    before = [resource.prlimit(role, resource.RLIMIT_NOFILE) for role in roles]
    with httpx2.Client(timeout=60) as http:
        assert http.get(running.url + "/live").status_code == 200  # this connection stays
        for role in roles:
            highest = max(int(each.name) for each in Path(f"/proc/{role}/fd").iterdir())
            resource.prlimit(role, resource.RLIMIT_NOFILE, (highest + 1, before[0][1]))
        for _ in range(3):
            time.sleep(1)  # each role looks at its files some times meanwhile
            assert http.get(running.url + "/live").status_code == 200
        refused = http.post(running.url + "/api/v1/pipelines/cloudwatch/resume")
        if refused.status_code != 200:  # it depends on how many descriptors are free below the highest
            assert "limit on open files" in refused.json()["hint"]
    for role, limits in zip(roles, before, strict=True):
        resource.prlimit(role, resource.RLIMIT_NOFILE, limits)
    running.publish({"eventType": "a", "sourceSystem": "b"})
    wait_for(lambda: running.status()["accepted"] == 2, 60, "the event to be accepted")
    assert [running.role(role) for role in ("ingest", "delivery")] == roles, "neither has died"
    assert "Traceback" not in running.log
