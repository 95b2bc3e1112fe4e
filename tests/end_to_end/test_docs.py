"""What the README and the docs print works as printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A test that waits for its turn has its time still before it.
pytestmark = [pytest.mark.usefixtures("default_ports"), pytest.mark.timeout(150, func_only=True)]
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def run_in_shell(script: str, folder: Path) -> str:
    """Run a page's commands in one shell, in an own process group that is killed at the end."""
    # what `pip install` would bring is installed already; the AWS command line lives in its own environment
    preamble = "set -e\ntrap 'echo ENDED $?' EXIT\npip() { :; }\n"
    path = f"{Path(sys.executable).parent}:{ROOT / '.venv-awscli/bin'}:{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AUDITFLOW_"))} | {
        "PATH": path
    }
    process = subprocess.Popen(
        ["bash", "-c", preamble + script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    collected = folder / "output.txt"
    try:
        with collected.open("wb") as out:
            while chunk := process.stdout.readline():
                out.write(chunk)
                if chunk.startswith(b"ENDED"):
                    break
        output = collected.read_text()
        assert "ENDED 0" in output, output
        return output
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_the_readme_ends_with_an_event_seen_in_cloudwatch(tmp_path):
    readme = ROOT / "README.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(readme, "yaml")[0])
    output = run_in_shell(blocks(readme, "bash")[0], tmp_path)
    assert '"userId": "amara"' in output
    assert re.search(r"cloudwatch +active +1 +1 +0 +0 +0", output)


def test_the_tutorial_works_from_top_to_bottom(tmp_path):
    page = DOCS / "tutorial.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(page, "yaml")[0])
    output = run_in_shell("\n".join(blocks(page, "bash")), tmp_path)
    assert "auditflow.yaml: 2 pipelines, no problems" in output
    assert "3 accepted, 0 duplicates, 0 rejected" in output
    assert re.search(r"logins +active +4 +2 +2 +0 +0", output)
    assert re.search(r"everything +active +4 +4 +0 +0 +0", output)
    read_back = output.rpartition("everything")[2]
    assert '"ben"' in read_back
    assert '"dmitri"' in read_back
    assert '"amara"' not in read_back


def test_where_is_my_event_is_answered_as_the_page_says(tmp_path):
    tutorial, page = DOCS / "tutorial.md", DOCS / "how-to/where-is-my-event.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(tutorial, "yaml")[0])
    (start,) = [block for block in blocks(tutorial, "bash") if "auditflow serve" in block]
    output = run_in_shell("\n".join([start, *blocks(page, "bash")]), tmp_path)
    assert re.search(r"logins +filtered +condition\.rules\[0\] does not hold", output)
    assert re.search(r"everything +delivered .*:all-events \(attempt 1\)", output)
    assert output.count('"state":"delivered"') == 1  # of curl
    assert output.count('"state": "delivered"') == 1  # of auditflow


def test_reload_and_replay_work_as_the_page_says(tmp_path):
    page = DOCS / "how-to/reload-and-replay.md"
    (tmp_path / "auditflow.yaml").write_text("pipelines: [{name: everything, sink: {name: logging_sink}}]\n")
    start = """auditflow serve &
for n in 1 2; do
  curl --retry 30 --retry-connrefused --silent http://127.0.0.1:8080/audit/publish \\
    -H 'Content-Type: application/json' -d '{"eventType": "a", "sourceSystem": "b"}'
done
"""
    output = run_in_shell("\n".join([start, *blocks(page, "bash")]), tmp_path)
    assert "loaded again; changed: no pipeline" in output
    assert "everything takes 2 of the 2 events of that time" in output
    assert "2 events go to everything; see auditflow status" in output


def test_an_installation_is_secured_and_a_key_rotated_as_the_page_says(tmp_path):
    page = DOCS / "how-to/secure.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(page, "yaml")[0])
    output = run_in_shell("\n".join(blocks(page, "bash")), tmp_path)
    assert '"duplicate":false' in output
    assert re.search(
        r"log +active +[1-3] ", output
    )  # the event and, as soon as they are taken in, two keys that were made
    assert re.search(r"key (\w{16}) of web is revoked", output)[1] in output
    (listed,) = re.findall(r"^\w{16} +operator +every +(.*)  never", output, re.MULTILINE)
    assert listed.strip() == "audit-event:read audit-event:operate"


def test_the_commands_of_the_http_page_work(tmp_path):
    (tmp_path / "auditflow.yaml").write_text("pipelines: []\n")
    commands = "\n".join(
        f"{command} && echo"
        for command in re.split(r"\n(?=curl)", "\n".join(blocks(DOCS / "http.md", "bash")).strip())
    )
    waiting = "curl --retry 30 --retry-connrefused --silent http://127.0.0.1:8082/live\n"
    output = run_in_shell(f"auditflow serve &\n{waiting}{commands}", tmp_path)
    assert '"status":"success","sink":"logging_sink"' in output
    assert '"id":"aws_cloudwatch_sink"' in output


def test_the_plugins_of_the_docs_are_the_examples_and_work(serve, tmp_path):
    page = DOCS / "plugins.md"
    sink, transformer = blocks(page, "python")
    plugins = ROOT / "examples" / "plugins"
    assert (plugins / "sinks/file_sink.py").read_text() == sink
    assert (plugins / "transformers/drop_debug.py").read_text() == transformer
    config = blocks(page, "yaml")[0].replace("directory: plugins", f"directory: {plugins}")
    config = config.replace("/tmp/auditflow-archive.ndjson", str(tmp_path / "archive.ndjson"))
    running = serve(config)
    running.publish(
        *[{"eventType": kind, "sourceSystem": "s"} for kind in ("debug.x", "auth.login", "auth.logout")]
    )
    row = running.settled("to-our-archive")
    assert (row["delivered"], row["filtered"]) == (2, 1)
    archive = (tmp_path / "archive.ndjson").read_text().splitlines()
    assert len(archive) == 2
    assert all('"reviewed": true' in line for line in archive)


def test_the_commands_of_the_cloudwatch_page_work_in_the_order_of_the_page(tmp_path):
    page = DOCS / "sinks" / "aws_cloudwatch_sink.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(page, "yaml")[0])
    (event,) = (block for block in blocks(page, "json") if block.startswith('{"eventType"'))
    (tmp_path / "event.json").write_text(event)
    *asked, server, keys, serve = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in blocks(page, "console")
        for line in block.splitlines()
    ]
    assert server.startswith("python -m auditflow.testing.cloudwatch")
    assert serve == "auditflow serve --config auditflow.yaml"
    started = [f"{server} &", "sleep 1", keys]  # the page begins with AWS itself, which is not here
    ready = "until curl -sf localhost:8080/ready >/dev/null; do sleep 0.1; done\nauditflow publish event.json\nsleep 2\n"
    background = [f"{line} &\n{ready}" if line.startswith("auditflow serve") else line for line in asked]
    output = run_in_shell("\n".join([*started, *background]), tmp_path)
    assert "auditflow.yaml: 1 pipeline, no problems" in output
    assert "warning: the sink may create its log group without retention-in-days" in output
    assert '"Action": ' in output
    assert "test event" in output
    assert "1 accepted, 0 duplicates, 0 rejected" in output
    assert "cloudwatch-prod: takes it" in output
    assert output.count("amara") >= 2  # found by a query, and in the tail
    assert re.search(r"DEBUG +auditflow GetCallerIdentity at ", output)


def test_redaction_does_what_its_page_says(tmp_path):
    page = DOCS / "how-to/redact.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(page, "yaml")[0])
    output = run_in_shell("\n".join(blocks(page, "bash")), tmp_path)
    assert "1 pipeline, no problems" in output
    assert "cards, mask: extra.note" in output
    assert '"note":"paid with ***"' in output
    assert '"redaction":["extra.email","extra.userId","cards"]' in output
    assert "amara@example.org" not in output


def test_what_an_auditor_asks_is_answered_as_the_page_says(tmp_path):
    page = DOCS / "how-to/what-an-auditor-will-ask.md"
    (tmp_path / "auditflow.yaml").write_text(blocks(page, "yaml")[0])
    output = run_in_shell("\n".join(blocks(page, "bash")), tmp_path)
    assert re.search(r"everything +active +3 +3 +0 +0 +0", output)  # the event, and two keys that were made
    assert re.search(r"own-audit +active +5 +4 +1 +0 +0", output)
    assert re.search(r"own-audit +filtered +condition\.rules\[0\] does not hold", output)
    assert re.search(r"everything +delivered", output)
    assert re.search(r"^\w{16} +amara +every", output, re.MULTILINE)
    said = set(re.findall(r'"eventType": ?"(auditflow\.[a-z.-]+)"', output))
    assert said == {f"auditflow.{what}" for what in ("keys.created", "pipelines.paused", "pipelines.resumed")}
    assert re.search(r'"redaction": ?\[\s*"extra.email"', output)
    assert "ben@example.org" not in output
