"""The page of the CloudWatch sink: its program, policies, tables and numbers are those of the code."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import msgspec
import pytest
import yaml

from auditflow.config import load
from auditflow.event.time import epoch_ms
from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.errors import RULES
from auditflow.sinks.aws_cloudwatch_sink.packing import OVERHEAD, pack
from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery, actions, documents
from auditflow.sinks.aws_cloudwatch_sink.request import body, compress
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch
from auditflow.testing.sample_events import sample_events

PAGE = Path(__file__).parents[3].joinpath("docs/sinks/aws_cloudwatch_sink.md").read_text()
ROLE = "arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole"
STATES = {
    Verdict.BLOCKED: "blocked",
    Verdict.RETRY: "retrying",
    Verdict.DELIVERED: "delivered",
    Verdict.REJECTED: "dead letter",
}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    found = re.findall(rf"^ *```{language}\n.*?^ *```$", section(title), re.DOTALL | re.MULTILINE)
    return [dedent(block).partition("\n")[2].removesuffix("```") for block in found]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def properties_of(title: str, tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "auditflow.yaml"
    file.write_text(blocks(title, "yaml")[0])
    load(file, {})
    text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", file.read_text())
    return yaml.safe_load(text)["pipelines"][0]["sink"]["properties"]


def deliver(cloud, events, **properties):
    async def run():
        given = {"endpoint-url": cloud.url, "sts-endpoint-url": cloud.url, "region": "us-east-1"}
        sink = CloudWatchSink(CloudWatchProperties.model_validate(given | properties))
        await sink.open()
        try:
            return await sink.deliver(events)
        finally:
            await sink.close()

    return [outcome.verdict for outcome in asyncio.run(run())]


def keys(name: str = "AKIAEXAMPLE") -> dict[str, str]:
    return {"access-key-id": name, "secret-access-key": "secret"}


def test_the_program_reads_events_whole_that_were_divided(cloud, tmp_path):
    events = [{"eventId": "1", "text": "é" * 1_200_000}, {"eventId": "2", "text": "short"}]
    encoded = [json.dumps(event, ensure_ascii=False).encode() for event in events]
    assert set(deliver(cloud, encoded, **{"log-group": "/large"}, **keys())) == {Verdict.DELIVERED}
    assert len(cloud.events("/large")) == 4
    program = tmp_path / "read.py"
    program.write_text(blocks("Large events", "python")[0])
    done = subprocess.run(
        [sys.executable, str(program), "/large", "auditflow"],
        env=os.environ
        | {
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(read, key=lambda event: event["eventId"]) == events


@pytest.fixture
def guarded_cloud():
    """A server of its own: identities, once registered, stay."""
    with StrictCloudWatch() as server:
        yield server


def test_the_policies_for_another_account_are_enough_and_the_smallest(guarded_cloud, tmp_path):
    cloud = guarded_cloud
    properties = properties_of("Another account", tmp_path)
    trust, of_role, of_source = (json.loads(block) for block in blocks("Another account", "json"))
    delivery = Delivery("p", "us-east-1", CloudWatchProperties.model_validate(properties))
    written = [document.content for document in documents([delivery], "111111111111")]
    assert all(policy in written for policy in (trust, of_role, of_source))

    cloud.add_identity("AKIASOURCE", "secret", account="111111111111", policies=[of_source])
    cloud.add_role(ROLE, trust=trust, policies=[of_role])
    cloud.add_identity("AKIATARGET", "secret", account="222222222222")
    own = keys("AKIASOURCE")
    assert deliver(cloud, [b"{}"], **properties | own) == [Verdict.BLOCKED]  # nobody has made the group
    deliver(cloud, [b"{}"], **{"log-group": properties["log-group"]}, **keys("AKIATARGET"))
    assert deliver(cloud, [b"{}"], **properties | own | {"external-id": "wrong"}) == [Verdict.BLOCKED]
    assert deliver(cloud, [b"{}"], **properties | own) == [Verdict.DELIVERED]


def test_the_actions_of_each_choice_are_those_of_the_sink():
    chosen = [row for row in rows(section("Permissions")) if row[0] in {"true", "false"}]
    assert len(chosen) == 4
    for group, stream, allowed in chosen:
        properties = CloudWatchProperties.model_validate(
            {"log-group": "/g", "create-log-group": group, "create-log-stream": stream}
        )
        assert re.findall(r"`(.*?)`", allowed) == actions(properties)


def test_the_troubleshooting_table_names_every_fault_with_its_state():
    told = {
        (name, state)
        for state, message, _ in rows(section("Troubleshooting"))
        for name in re.findall(r"`(\w+)`", message)
    }
    assert {(name, STATES[rule.verdict]) for name, rule in RULES.items()} - told == set()


def test_the_requests_for_a_gigabyte_are_those_of_the_batcher():
    table = [row for row in rows(section("Costs")) if row[0][0].isdigit()]
    assert len(table) == 6
    for size, events, requests in ([int(cell.replace(",", "")) for cell in row] for row in table):
        count = 2 * events + 1
        packed = pack(range(count), [0] * count, [size + OVERHEAD] * count)
        assert [len(request) for request in packed] == [events, events, 1]
        assert requests == round(1e9 / (size * events))


def test_gzip_saves_what_the_page_says():
    dice = random.Random(7)  # ids of events that were published one by one share no random bits
    times, events = [], []
    for event in islice(sample_events(), 2400):
        times.append(epoch_ms(event["eventTime"]))
        version_7 = times[-1] << 80 | 7 << 76 | dice.getrandbits(12) << 64 | 2 << 62 | dice.getrandbits(62)
        published = {"timestamp": event["eventTime"], "eventId": str(UUID(int=version_7)), **event}
        events.append(msgspec.json.encode(published))
    plain = body("/aws/auditflow/production", "app-events", times, events)
    said = float(re.search(r"([\d.]+) times smaller", section("Costs"))[1])
    assert len(plain) / len(compress(plain)) == pytest.approx(said, rel=0.05)
    assert sum(map(len, events)) / len(events) == pytest.approx(414, rel=0.01)
