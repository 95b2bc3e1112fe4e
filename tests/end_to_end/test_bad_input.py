"""Mistakes at the start: command line, configuration, plugins, ports. Each is one clear message, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from .conftest import wait_for

GROUP = "/aws/auditflow/test"
EVENT = {"eventType": "a", "sourceSystem": "b"}
LOGGING = "{name: logging_sink}"


def auditflow(*arguments: str, cwd: Path, seconds: float = 30, **more) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; whatever happens, nobody is shown a traceback."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AUDITFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "auditflow", *arguments],
        cwd=cwd,
        # a server that gets as far as its ports takes no others': docs print the usual ones
        env=environment | {"AUDITFLOW_PORT": "0", "AUDITFLOW_SINK_PORT": "0"} | more.pop("environment", {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        **more,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def write(folder: Path, config: str | bytes) -> None:
    folder.joinpath("auditflow.yaml").write_bytes(config.encode() if isinstance(config, str) else config)


def pipeline(sink: str = LOGGING, **more: str) -> str:
    rest = "".join(f", {name}: {value}" for name, value in more.items())
    return f"pipelines:\n  - {{name: p, sink: {sink}{rest}}}\n"


CONFIGS = {
    "empty": ("", "auditflow.yaml:1:1: the file is empty"),
    "broken": ("pipelines: [", "auditflow.yaml:"),
    "tab": ("pipelines:\n\t- name: x", "auditflow.yaml:2:1"),
    "not UTF-8": (b"pipelines: \xff", "UTF-8"),
    "binary": (bytes(range(256)), "auditflow.yaml"),
    "a list": ("- 1\n- 2\n", "mapping"),
    "text": ("hello", "mapping"),
    "duplicate": ("pipelines: []\npipelines: []\n", "auditflow.yaml:2:1"),
    "unknown section": ("piplines: []\n", "did you mean pipelines?"),
    "unset variable": (pipeline("{name: '${SINK_NAME_NOT_SET}'}"), "SINK_NAME_NOT_SET is not set"),
    "unknown sink": (pipeline("{name: aws_cloudwatch}"), "did you mean aws_cloudwatch_sink?"),
    "unknown transformer": (pipeline(transformer="{name: zro}"), "did you mean zero?"),
    "unknown property": (
        pipeline("{name: aws_cloudwatch_sink, properties: {log-groop: x}}"),
        "did you mean log-group?",
    ),
    "bad property": (
        pipeline("{name: aws_cloudwatch_sink, properties: {log-group: x, max-in-flight: many}}"),
        "max-in-flight",
    ),
    "bad size": ("journal: {max-size: huge}\n", "journal.max-size"),
    "bad port": ("server: {port: 70000}\n", "server.port"),
    "bad operator": (
        pipeline(condition="{rules: [{field: a, operator: like, value: b}]}"),
        "operator",
    ),
    "bad regex": (
        pipeline(condition="{rules: [{field: a, operator: regex, value: '('}]}"),
        "auditflow.yaml:2:",
    ),
    "plugin folder": ("plugins: {directory: nowhere}\n", "no such folder"),
    "deep": ("pipelines: " + "[" * 5000, "auditflow.yaml"),
    "a bomb of aliases": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "pipelines: *i\n",
        "auditflow.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_bad_configuration_is_named_with_its_place(tmp_path, case):
    config, words = case
    write(tmp_path, config)
    done = auditflow("check", cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stdout
    assert len(done.stdout) < 5000


def test_serve_says_the_same_of_a_bad_configuration_and_makes_no_data(tmp_path):
    write(tmp_path, "piplines: []\nserver: {port: x}\n")
    done = auditflow("serve", cwd=tmp_path)
    assert done.returncode == 1
    assert "auditflow.yaml:1:1" in done.stderr
    assert "auditflow.yaml:2:" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["auditflow.yaml"]


@pytest.mark.parametrize("name", ["nowhere.yaml", "folder", "none/auditflow.yaml", "link", "a\nb"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("link")
    done = auditflow("serve", "--config", name, cwd=tmp_path)
    assert done.returncode == 1
    assert name.split("/")[-1].split("\n")[0] in done.stderr
    assert len(done.stderr.splitlines()) < 6


def test_an_unset_variable_without_default_is_not_an_empty_text(tmp_path):
    write(tmp_path, "pipelines: []\njournal: {path: '${AUDIT_HOME_NOT_SET}'}\n")
    assert "AUDIT_HOME_NOT_SET" in auditflow("serve", cwd=tmp_path).stderr


COMMANDS = {
    "port": (["serve", "--port", "99999"], 2, "--port"),
    "port is text": (["serve", "--port", "http"], 2, "--port"),
    "role": (["serve", "--role", "both"], 2, "--role"),
    "plugins": (["serve", "--plugins", "nowhere"], 2, "--plugins"),
    "host": (["serve", "--host", "no.such.host.invalid"], 1, "--host"),
    "host is not a name": (["serve", "--host", "a..b"], 1, "--host"),
    "address of another machine": (["serve", "--host", "192.0.2.1"], 1, "--host"),
    "sink host": (["serve", "--port", "0", "--sink-host", "192.0.2.1"], 1, "--sink-host"),
    "unknown command": (["sreve"], 2, "sreve"),
    "unknown sink": (["sinks", "aws_cloudwatch"], 1, "did you mean aws_cloudwatch_sink?"),
    "status of nothing": (["status", "--url", "http://127.0.0.1:1"], 1, "auditflow serve"),
    "status of no address": (["status", "--url", "http://[::"], 1, "--url"),
    "publish a folder": (["publish", "."], 1, "directory"),
    "publish nothing": (["publish", "nowhere.ndjson"], 1, "nowhere.ndjson"),
    "publish no JSON": (["publish", "broken.json"], 1, "broken.json"),
    "publish deep JSON": (["publish", "deep.json"], 1, "deep.json"),
    "publish to no address": (["publish", "one.ndjson", "--url", "http://[::"], 1, "--url"),
    "publish to no host": (["publish", "one.ndjson", "--url", "http://"], 1, "--url"),
    "publish to no web": (["publish", "one.ndjson", "--url", "ftp://localhost"], 1, "--url"),
    "publish to the dead": (
        ["publish", "one.ndjson", "--url", "http://127.0.0.1:1", "--patience", "1"],
        1,
        "auditflow serve",
    ),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_bad_command_line_is_explained(tmp_path, case):
    arguments, status, words = case
    write(tmp_path, "pipelines: []\n")
    (tmp_path / "broken.json").write_text("[{]")
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    (tmp_path / "one.ndjson").write_text(json.dumps(EVENT))
    done = auditflow(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert len(done.stderr) < 1500


@pytest.mark.parametrize("option", ["--port", "--sink-port"])
def test_a_busy_port_is_named_with_the_flag_that_changes_it(tmp_path, option):
    write(tmp_path, "pipelines: []\n")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        other = {"--port": "--sink-port", "--sink-port": "--port"}[option]
        done = auditflow("serve", option, port, other, "0", cwd=tmp_path)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}: the port is in use" in done.stderr
    assert f"choose another port with {option}." in done.stderr


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[]", b'{"rejected": 5}', b"\xff\xfe"])
def test_publishing_to_something_else_is_explained(tmp_path, answer, status):
    (tmp_path / "one.ndjson").write_text(json.dumps(EVENT))
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\nConnection: close\r\nLocation: /x\r\n\r\n"
    )
    with Impostor(head.encode() + answer) as url:
        done = auditflow("publish", "one.ndjson", "--url", url, "--patience", "1", cwd=tmp_path)
        assert done.returncode == 1
        assert "--url" in done.stderr
        if status == 200:
            assert auditflow("status", "--url", url, cwd=tmp_path).returncode == 1


class Impostor:
    """A server that answers whatever comes with the same bytes."""

    def __init__(self, answer: bytes, port: int = 0) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    connection.recv(65536)
                    connection.sendall(self._answer)
                except OSError:
                    pass


def test_ctrl_c_in_publish_says_how_far_it_came(tmp_path):
    (tmp_path / "one.ndjson").write_text(json.dumps(EVENT))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "auditflow", "publish", "one.ndjson", "--url", url],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "0 accepted" in stdout
    assert "Traceback" not in stderr


def test_a_configuration_without_pipelines_takes_events(serve):
    running = serve("pipelines: []")
    assert running.publish(EVENT).status_code == 200
    assert httpx2.get(running.url + "/api/v1/status").json()["pipelines"] == []
    assert running.stop() == 0


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-", "</dev/null"])
def test_closed_standard_streams_do_not_matter(tmp_path, closed):
    write(tmp_path, "pipelines: []\n")
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
        port, sink_port = free.getsockname()[1], other.getsockname()[1]
    command = f"exec {sys.executable} -m auditflow serve --port {port} --sink-port {sink_port} {closed}"
    process = subprocess.Popen(["bash", "-c", command], cwd=tmp_path)
    try:
        wait_for(lambda: _lives(port) and _lives(sink_port), 120, "both servers")
        answer = httpx2.post(f"http://127.0.0.1:{port}/audit/publish", json=EVENT)
        assert answer.status_code == 200
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _lives(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/live").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_answers_what_it_took_and_loses_nothing(serve, cloud, number):
    running = serve(cloud=cloud)
    acknowledged = set()

    def load() -> None:
        n = 0
        while True:
            n += 1
            name = f"{threading.get_ident()}-{n}"
            try:
                if running.publish(EVENT | {"extra": {"n": name}}).status_code == 200:
                    acknowledged.add(name)
            except httpx2.TransportError:
                return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) > 100, what="some load")
    running.process.send_signal(number)
    assert running.process.wait(30) == 0
    for thread in threads:
        thread.join()
    assert "Traceback" not in running.log
    running.start()
    assert running.settled()["delivered"] >= len(acknowledged)
    arrived = [json.loads(record.message)["extra"]["n"] for record in cloud.events(GROUP)]
    assert acknowledged <= set(arrived)
    assert len(arrived) == len(set(arrived))
