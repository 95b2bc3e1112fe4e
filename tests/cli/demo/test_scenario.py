import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_delivers_every_event_and_reads_it_back():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("A")}
    answer = subprocess.run(
        [sys.executable, "-m", "auditflow", "demo", "--events", "60"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert answer.returncode == 0, answer.stderr
    assert "60 published, 60 found in CloudWatch, 0 missing, 0 repeated." in answer.stdout
    assert "the last 12 of 60 events" in answer.stdout
    assert "…" not in answer.stdout
