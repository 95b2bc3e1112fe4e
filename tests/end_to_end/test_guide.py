"""The user's guide, step by step and as printed: its `aws` commands, its curl, its development example."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "tests" / "data" / "guide"
GROUP = "/aws/auditflow/test"


@pytest.fixture
def run(cloud, tmp_path):
    """Give a function that runs a step of the guide in a shell with the AWS command line."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = dict(os.environ) | keys | {"AWS_ENDPOINT_URL": cloud.url, "AWS_PAGER": ""}
    environment["PATH"] = f"{ROOT / '.venv-awscli/bin'}:{environment['PATH']}"
    assert (ROOT / ".venv-awscli/bin/aws").exists(), "set it up with: make test"

    def step(name: str) -> str:
        script = (GUIDE / name).read_text()
        done = subprocess.run(
            ["bash", "-ec", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return step


@pytest.mark.timeout(180, func_only=True)
@pytest.mark.usefixtures("default_ports")
def test_the_guides_commands_and_its_curl_work_as_printed(serve, cloud, run):
    serve("pipelines: []\n", "--port", "8080", "--sink-port", "8082", cloud=cloud)
    assert GROUP in run("create-test-group.sh")
    assert "test-stream" in run("create-test-stream.sh")
    run(
        "put-test-event.sh"
    )  # in JSON: the command line's shorthand refuses the guide's form before it sends anything
    before = time.time() * 1000
    answer = json.loads(run("test-sink.sh"))
    assert answer["status"] == "success"
    assert answer["sink"] == "aws_cloudwatch_sink"
    result = answer["result"]
    assert (result["sent"], result["log_group"], result["log_stream"], result["region"]) == (
        1,
        GROUP,
        "test-stream",
        "us-east-1",
    )
    record = cloud.events(GROUP)[-1]
    assert record.timestamp >= before - 1000, "an event that is months old arrives at now"
    assert json.loads(record.message) == {
        "eventType": "test",
        "timestamp": "2025-12-17T10:00:00Z",
        "message": "Test audit event",
    }
    run("create-production-group.sh")
    queried = run("query-logs.sh")
    assert "Test audit event" in queried
    assert "queryId" in queried
    assert GROUP in run("verify-identity.sh")


def test_the_development_example_delivers_one_event_and_a_thousand(serve, cloud):
    running = serve((GUIDE / "development.yaml").read_text(), cloud=cloud)
    running.publish({"eventType": "test", "sourceSystem": "guide"})
    answer = running.publish(
        *[{"eventType": "test", "sourceSystem": "guide", "extra": {"n": n}} for n in range(1000)]
    )
    assert answer.json()["accepted"] == 1000
    assert running.settled("cloudwatch-dev")["delivered"] == 1001
    assert len(cloud.events("/aws/auditflow/development", "dev-events")) == 1001


def test_three_pipelines_write_three_streams_of_one_group(serve, cloud):
    cloud_config = (GUIDE / "multiple-streams.yaml").read_text()
    running = serve(cloud_config, cloud=cloud)
    running.publish(*[{"eventType": "test", "sourceSystem": "guide"} for _ in range(20)])
    for name in ("api", "auth", "admin"):
        assert running.settled(f"cloudwatch-{name}")["delivered"] == 20
        assert len(cloud.events("/aws/auditflow/production", f"{name}-events")) == 20


def test_two_regions_get_every_event(serve, cloud):
    running = serve((GUIDE / "multi-region.yaml").read_text(), cloud=cloud)
    running.publish(*[{"eventType": "test", "sourceSystem": "guide"} for _ in range(20)])
    for pipeline, region in (("cloudwatch-us-east", "us-east-1"), ("cloudwatch-eu-west", "eu-west-1")):
        assert running.settled(pipeline)["delivered"] == 20
        assert len(cloud.events("/aws/auditflow/production", region=region)) == 20
