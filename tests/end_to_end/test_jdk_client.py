"""The JDK's own HTTP client publishes as it comes: with an offer of HTTP/2 on every request."""

import shutil
import subprocess
from pathlib import Path

import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch

from .conftest import Serve

PROGRAM = Path(__file__).with_name("clients") / "Publish.java"
COUNT = 20


@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK, 11 or later")
def test_the_jdks_http_client_publishes_one_after_the_other_and_side_by_side(serve, cloud: StrictCloudWatch):
    running: Serve = serve(cloud=cloud)
    command = ["java", str(PROGRAM), running.url, str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.split() == ["200"] * 2 * COUNT
    running.settled()
    messages = [record.message for record in cloud.events("/aws/auditflow/test")]
    assert [sum(f"java.{way}" in each for each in messages) for way in ("single", "parallel")] == [
        COUNT,
        COUNT,
    ]
