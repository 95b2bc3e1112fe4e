"""Plugins that are broken, raise, hang or answer nonsense, and destinations that misbehave: the others go on."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

from .conftest import Serve, wait_for
from .test_bad_input import Impostor, auditflow, write

GROUP = "/aws/auditflow/test"

SINKS = {
    "syntax_error": "def process(:\n",
    "raises_at_import": "raise RuntimeError('no database')\n",
    "exits_at_import": "import sys; sys.exit(3)\n",
    "misses_package": "import no_such_package_anywhere\n",
    "no_process": "x = 1\n",
    "wrong_arguments": "def process(): ...\n",
    "asynchronous": "async def process(event_data, properties): ...\n",
    "binary": "\0\1\2",
    "raises": "def process(event_data, properties): raise ValueError('no table ' + event_data['extra']['n'])\n",
    "raises_surrogate": "def process(event_data, properties): raise ValueError('half \\ud800')\n",
    "raises_unprintable": (
        "class Odd(Exception):\n    def __str__(self): raise TypeError('odd')\n"
        "def process(event_data, properties): raise Odd\n"
    ),
    "exits": "import sys\ndef process(event_data, properties): sys.exit(1)\n",
    "interrupts": "def process(event_data, properties): raise KeyboardInterrupt\n",
    "hangs": "import time\ndef process(event_data, properties): time.sleep(3600)\n",
    "hangs_too": "import time\ndef process(event_data, properties): time.sleep(3600)\n",
    "nonsense": "def process(event_data, properties): return {'a': object(), 1: {2}}\n",
    "good": "def process(event_data, properties): return {'seen': 1}\n",
}
TRANSFORMERS = {
    "raises": "def transform(event): raise ValueError('cannot')\n",
    "raises_surrogate": "def transform(event): raise ValueError('half \\ud800')\n",
    "raises_unprintable": (
        "class Odd(Exception):\n    def __str__(self): raise TypeError('odd')\n"
        "def transform(event): raise Odd\n"
    ),
    "raises_at_length": "def transform(event): raise ValueError('x' * 10**7)\n",
    "exits": "import sys\ndef transform(event): sys.exit(1)\n",
    "recurses": "def transform(event): return transform(event)\n",
    "text": "def transform(event): return 'text'\n",
    "list_of_text": "def transform(event): return ['text']\n",
    "no_json": "def transform(event): return {'a': object()}\n",
    "circular": "def transform(event):\n    event['self'] = event\n    return event\n",
    "surrogate": "def transform(event): return event | {'x': 'half \\ud800'}\n",
    "nothing": "def transform(event): return None\n",
    "empty": "def transform(event): return {}\n",
    "hangs": "import time\ndef transform(event): time.sleep(3600)\n",
}
ENDS_AS_LETTER = {
    "raises", "raises_surrogate", "raises_unprintable", "raises_at_length", "exits", "recurses", "text",
    "list_of_text", "no_json", "circular",
}  # fmt: skip
RUN = (
    "raises",
    "raises_surrogate",
    "raises_unprintable",
    "exits",
    "interrupts",
    "hangs",
    "hangs_too",
    "good",
)
CLOUDWATCH = (
    "{name: aws_cloudwatch_sink, properties: {log-group: GROUP, log-stream: NAME, flush-interval: 50ms}}"
)


@pytest.fixture(scope="module")
def cloud() -> Iterator[StrictCloudWatch]:
    with StrictCloudWatch() as double:
        yield double


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    for kind, modules in (("sinks", SINKS), ("transformers", TRANSFORMERS)):
        (folder / "plugins" / kind).mkdir(parents=True)
        for name, source in modules.items():
            (folder / "plugins" / kind / f"{name}.py").write_text(source)
    (folder / "plugins" / "stray.py").write_text("")
    (folder / "plugins" / "sinks" / "a-b.py").write_text("def process(event_data, properties): ...\n")
    return folder


@pytest.fixture(scope="module")
def running(folder: Path, cloud: StrictCloudWatch) -> Iterator[Serve]:
    """Give a server with a pipeline for every plugin that can be loaded, and one into CloudWatch."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    lines = [f"  - {{name: sink-{name}, sink: {{name: {name}}}}}" for name in RUN]
    for name in TRANSFORMERS:
        sink = CLOUDWATCH.replace("GROUP", "/aws/auditflow/other").replace("NAME", name)
        lines.append(f"  - {{name: transformer-{name}, transformer: {{name: {name}}}, sink: {sink}}}")
    sink = CLOUDWATCH.replace("GROUP", GROUP).replace("NAME", "events")
    lines.append(f"  - {{name: cloudwatch, sink: {sink}}}")
    config = "plugins: {directory: plugins}\nserver: {shutdown-timeout: 2s}\npipelines:\n" + "\n".join(lines)
    serve = Serve(folder, config, {"AWS_ENDPOINT_URL": cloud.url} | keys, ()).start()
    for start in range(0, 100, 10):
        assert serve.publish(*events(10, start)).status_code == 200
    yield serve
    if serve.process.poll() is None:
        serve.process.kill()
        serve.process.wait()


def events(count: int, start: int = 0) -> list[dict]:
    return [
        {"eventType": "a", "sourceSystem": "b", "extra": {"n": str(n)}} for n in range(start, start + count)
    ]


def test_the_others_go_on(running, cloud):
    assert running.settled("cloudwatch", 120)["delivered"] == 100
    assert len(cloud.events(GROUP)) == 100
    assert running.settled("sink-good", 120)["delivered"] == 100
    assert running.log.count("it starts again") == 0


@pytest.mark.parametrize("name", ["raises_unprintable", "exits", "interrupts"])
def test_a_sink_that_raises_is_tried_again_and_keeps_its_events(running, name):
    wait_for(lambda: running.status(f"sink-{name}")["state"] == "retrying", 120, "the sink to be retried")
    row = running.status(f"sink-{name}")
    assert (row["delivered"], row["deadLettered"], row["pending"]) == (0, 0, 100)
    code = {"exits": "SystemExit", "interrupts": "KeyboardInterrupt", "raises_unprintable": "Odd"}[name]
    assert row["lastError"]["code"] == code


@pytest.mark.parametrize("name", ["raises", "raises_surrogate"])
def test_a_sink_that_raises_value_error_never_takes_the_event(running, name):
    assert running.settled(f"sink-{name}", 120)["deadLettered"] == 100
    url = f"{running.url}/api/v1/dead-letters?pipeline=sink-{name}&limit=1"
    (letter,) = httpx2.get(url).json()["letters"]
    assert ("no table" if name == "raises" else "half") in letter["reason"]


def test_a_sink_that_hangs_keeps_its_events(running):
    row = running.status("sink-hangs")
    assert (row["delivered"], row["pending"]) == (0, 100)


@pytest.mark.parametrize("name", sorted(ENDS_AS_LETTER))
def test_a_transformer_that_fails_ends_each_event_as_a_dead_letter(running, name):
    assert running.settled(f"transformer-{name}", 120)["deadLettered"] == 100


def test_what_a_transformer_makes_is_accounted_for(running, cloud):
    assert running.settled("transformer-nothing", 120)["filtered"] == 100
    for name in ("empty", "surrogate"):
        row = running.settled(f"transformer-{name}", 120)
        assert row["delivered"] + row["deadLettered"] == 100
        assert len(cloud.events("/aws/auditflow/other", name)) == row["delivered"]


def test_the_registry_names_what_is_broken_and_why(running):
    registry = httpx2.get(running.sink_url + "/registry").json()
    reasons = {(broken["kind"], broken["id"]): broken["error"] for broken in registry["errors"]}
    for name, words in {
        "syntax_error": "SyntaxError",
        "raises_at_import": "no database",
        "exits_at_import": "SystemExit",
        "misses_package": "no_such_package_anywhere",
        "no_process": "no function process",
        "wrong_arguments": "two arguments",
        "asynchronous": "plain function",
        "binary": "null bytes",
        "a-b": "letters, digits and underscores",
    }.items():
        assert words in reasons["sink", name], name
    assert ("plugin", "stray") in reasons
    assert {"raises", "good", "logging_sink", "aws_cloudwatch_sink"} <= {
        sink["id"] for sink in registry["sinks"]
    }


def test_the_sink_service_says_what_a_plugin_did(running):
    def call(path: str, body: dict):
        return httpx2.post(running.sink_url + path, json=body, timeout=60)

    event = {"event_data": {"extra": {"n": "5"}}}
    for name in ("exits", "raises_unprintable"):
        answer = call(f"/sink/{name}", event)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True), name
    for name in ("raises", "raises_surrogate"):
        answer = call(f"/sink/{name}", event)
        assert (answer.status_code, "retry-after" in answer.headers) == (502, False), name
    assert "no table 5" in call("/sink/raises", event).json()["message"]
    assert call("/sink/nonsense", event).json()["status"] == "success"
    broken = call("/sink/syntax_error", event).json()
    assert broken["code"] == "PLUGIN_BROKEN"
    assert "SyntaxError" in broken["message"]
    for name in sorted(ENDS_AS_LETTER - {"list_of_text", "text"}):
        answer = call(f"/transform/{name}", {"a": 1})
        assert (answer.status_code, answer.json()["code"]) == (422, "TRANSFORM_FAILED"), name
        assert len(answer.content) < 5000
    assert call("/transform/nothing", {"a": 1}).json() is None


def test_a_hanging_plugin_does_not_keep_the_processes_from_stopping(running, cloud):
    assert running.stop(seconds=120) == 0
    assert "has not stopped in time" not in running.log, "nobody has to kill it"
    before = len(cloud.events(GROUP))
    running.start()
    assert running.publish(*events(5, 200)).status_code == 200
    wait_for(lambda: len(cloud.events(GROUP)) == before + 5, 120, "the new events and no old one")


def test_a_broken_plugin_that_a_pipeline_needs_is_a_problem_of_the_configuration(folder, tmp_path):
    shutil.copytree(folder / "plugins", tmp_path / "plugins")
    write(tmp_path, "plugins: {directory: plugins}\npipelines: [{name: p, sink: {name: syntax_error}}]\n")
    done = auditflow("serve", cwd=tmp_path)
    assert done.returncode == 1
    assert "auditflow.yaml:2:" in done.stderr
    assert "syntax_error.py:1: SyntaxError" in done.stderr


def test_a_plugin_that_hangs_at_import_is_named(tmp_path):
    (tmp_path / "plugins/sinks").mkdir(parents=True)
    (tmp_path / "plugins/sinks/sleepy.py").write_text("import time; time.sleep(7)\n")
    write(tmp_path, "plugins: {directory: plugins}\npipelines: []\nserver: {port: x}\n")
    done = auditflow("check", cwd=tmp_path)
    assert "sleepy.py" in done.stderr


# destinations


def one_pipeline(properties: str) -> str:
    return (
        "pipelines:\n"
        f"  - {{name: cloudwatch, sink: {{name: aws_cloudwatch_sink, properties: {{log-group: {GROUP}, flush-interval: 50ms, {properties}}}}}}}\n"
        "  - {name: log, sink: {name: logging_sink}}\n"
    )


def blocked(running: Serve, state: str = "blocked") -> dict:
    assert running.publish(*events(3)).status_code == 200
    wait_for(lambda: running.status()["state"] == state, 120, f"the pipeline to be {state}")
    assert running.settled("log")["delivered"] == 3
    row = running.status()
    assert (row["delivered"], row["deadLettered"], row["pending"]) == (0, 0, 3)
    assert "Traceback" not in running.log
    return row["lastError"]


def test_without_boto3_the_pipeline_is_blocked_and_names_the_extra(serve, tmp_path, cloud):
    shim = tmp_path / "shim"
    for package in ("boto3", "botocore"):
        (shim / package).mkdir(parents=True)
        source = f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
        (shim / package / "__init__.py").write_text(source)
    running = serve(one_pipeline("region: us-east-1"), cloud=cloud, PYTHONPATH=str(shim))
    error = blocked(running)
    assert error["code"] == "MISSING_EXTRA"
    assert "pip install 'auditflow-server[aws]'" in error["hint"]


def test_no_credentials_and_wrong_ones_are_told_apart(serve, tmp_path, cloud):
    cloud.add_identity("AKIAGOOD", "right-secret")
    nowhere = str(tmp_path / "no-file")
    none = {
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_CONFIG_FILE": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    config = """
pipelines:
  - {name: cloudwatch, sink: {name: aws_cloudwatch_sink, properties: {log-group: a, flush-interval: 50ms}}}
  - {name: unknown-key, sink: {name: aws_cloudwatch_sink, properties: {log-group: a, flush-interval: 50ms, access-key-id: AKIANOBODY, secret-access-key: hush-hush-hush}}}
  - {name: wrong-secret, sink: {name: aws_cloudwatch_sink, properties: {log-group: a, flush-interval: 50ms, access-key-id: AKIAGOOD, secret-access-key: hush-hush-hush}}}
  - {name: right, sink: {name: aws_cloudwatch_sink, properties: {log-group: a, flush-interval: 50ms, access-key-id: AKIAGOOD, secret-access-key: right-secret}}}
"""
    running = serve(config, AWS_ENDPOINT_URL=cloud.url, AWS_REGION="us-east-1", **none)
    running.publish(*events(3))
    assert running.settled("right", 120)["delivered"] == 3
    for name, code, words in (
        ("cloudwatch", "NoCredentialsError", "AWS_ACCESS_KEY_ID"),
        ("unknown-key", "UnrecognizedClientException", "access-key-id"),
        ("wrong-secret", "InvalidSignatureException", "secret-access-key"),
    ):
        wait_for(lambda name=name: running.status(name)["state"] == "blocked", 120, f"{name} to be blocked")
        error = running.status(name)["lastError"]
        assert (error["code"], words in error["hint"]) == (code, True), error
    assert "Traceback" not in running.log
    answers = running.log + httpx2.get(running.url + "/api/v1/status").text
    assert "hush-hush" not in answers


def test_an_endpoint_that_is_not_there_or_answers_garbage_is_retried(serve, cloud):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = one_pipeline(f"region: us-east-1, endpoint-url: 'http://127.0.0.1:{port}'")
    running = serve(config, cloud=cloud)
    assert "127.0.0.1" in blocked(running, "retrying")["message"]
    for garbage in (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", b"\x00\x01garbage\r\n\r\n"):
        with Impostor(garbage, port):
            time.sleep(1.5)
            row = running.status()
            assert (row["state"], row["delivered"], row["pending"]) == ("retrying", 0, 3)
    with StrictCloudWatch(port) as recovered:
        assert running.settled(seconds=120)["delivered"] == 3
        assert len(recovered.events(GROUP)) == 3
