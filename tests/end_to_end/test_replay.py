"""What the journal still holds goes to a new pipeline, or once more to a repaired one."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

from .conftest import CLOUDWATCH, Serve, wait_for

NEW = (
    CLOUDWATCH.removeprefix("pipelines:\n").replace("name: cloudwatch", "name: new").replace("/test", "/new")
)
EVEN = "    condition: {rules: [{field: extra.n, operator: in, value: [0, 2, 4, 6, 8]}]}\n"

pytestmark = pytest.mark.timeout(120)


def replay(running: Serve, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "auditflow", "replay", *arguments, "--url", running.url]
    return subprocess.run(
        command, env=running.environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_new_pipeline_gets_what_was_accepted_before_it(serve, cloud):
    running = serve(CLOUDWATCH, cloud=cloud)
    for start in range(0, 1000, 100):
        running.publish(
            *({"eventType": "a", "sourceSystem": "b", "extra": {"n": (start + n) % 10}} for n in range(100))
        )
    running.settled()
    running.config.write_text(CLOUDWATCH + NEW + EVEN)
    wait_for(lambda: "changed: new" in running.log, 120, "the new pipeline")
    done = replay(running, "--pipeline", "new", "--since", "1h", "--dry-run")
    assert done.stdout == "new takes 500 of the 1,000 events of that time\n"
    assert running.status("new")["accepted"] == 0
    done = replay(running, "--pipeline", "new", "--since", "1h")
    assert done.stdout == "1,000 events go to new; see auditflow status\n"
    running.kill("delivery")
    row = running.settled("new")
    assert (row["accepted"], row["delivered"], row["filtered"]) == (1000, 500, 500)
    numbers = [json.loads(record.message)["extra"]["n"] for record in cloud.events("/aws/auditflow/new")]
    assert set(numbers) == {0, 2, 4, 6, 8}
    assert len(numbers) >= 500
    assert running.status()["accepted"] == 1000


def test_a_repaired_pipeline_gets_them_once_more(serve, cloud):
    running = serve(CLOUDWATCH, cloud=cloud)
    event = {"eventType": "a", "sourceSystem": "b", "eventId": str(uuid.uuid4())}
    running.publish(event)
    running.settled()
    assert replay(running, "--pipeline", "cloudwatch", "--since", "1m").returncode == 0
    wait_for(lambda: running.status()["accepted"] == 2, 120, "the replay")
    assert running.settled()["delivered"] == 2
    assert len(cloud.events("/aws/auditflow/test")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pipeline", "nobody", "--since", "1h"], "those that do: cloudwatch"),
        (["--pipeline", "cloudwatch", "--since", "2h", "--until", "1h"], "retains no event of that time"),
        (["--pipeline", "cloudwatch", "--since", "1h", "--until", "2h"], "until: it has to be after since"),
        (["--pipeline", "cloudwatch", "--since", "soon"], "expected now, an age"),
        (["--pipeline", "cloudwatch"], "--since"),
    ],
)
def test_what_cannot_be_replayed_says_why_and_changes_nothing(serve, cloud, arguments, said):
    running = serve(CLOUDWATCH, cloud=cloud)
    running.publish({"eventType": "a", "sourceSystem": "b"})
    running.settled()
    done = replay(running, *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr + running.log
    assert running.status()["accepted"] == 1
