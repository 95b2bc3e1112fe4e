"""What the demo does: a CloudWatch double, a real `auditflow serve`, a stream of events, and the proof by reading back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import uuid_utils
from rich.syntax import Syntax
from rich.table import Table

from auditflow.cli._shared.output import console
from auditflow.cli.operate.status import fetch, render
from auditflow.client import Chunk, Publisher, Report
from auditflow.errors import DemoFailed, MissingExtra
from auditflow.testing.cloudwatch import StrictCloudWatch
from auditflow.testing.sample_events import sample_events

CONFIG: Final = """\
pipelines:
  - name: cloudwatch
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: {log_group}
        log-stream: {log_stream}
"""
START_SECONDS: Final = 60.0
DELIVERY_SECONDS: Final = 60.0
SHOWN: Final = 12
CHUNK: Final = 50


class Demo:
    """One run of the demo."""

    def __init__(self, events: int, log_group: str, region: str | None, *, aws: bool) -> None:
        self._count = events
        self._log_group = log_group
        self._log_stream = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
        self._region = region or os.environ.get("AWS_REGION") or "us-east-1"
        self._aws = aws
        self._console = console()

    def run(self) -> None:
        """Run it. Raises DemoFailed when an event is missing."""
        with (
            nullcontext() if self._aws else StrictCloudWatch() as double,
            TemporaryDirectory(prefix="auditflow-demo-") as folder,
        ):
            environment = self._environment(double)
            self._step(
                "CloudWatch Logs",
                "the real service" if double is None else f"a strict local double at {double.url}",
            )
            with self._serve(Path(folder), environment) as url:
                self._publish(url)
                status = self._delivered(url)
            self._step("What became of them", "accepted = delivered + filtered + dead letters + pending")
            self._console.print(render(status), "")
            self._show(self._read_back(environment))

    def _environment(self, double: StrictCloudWatch | None) -> dict[str, str]:
        environment = dict(os.environ) | {"AWS_REGION": self._region}
        if double is not None:
            local = {
                "AWS_ENDPOINT_URL": double.url,
                "AWS_ACCESS_KEY_ID": "demo",
                "AWS_SECRET_ACCESS_KEY": "demo",
            }
            environment |= local
        return environment

    @contextmanager
    def _serve(self, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
        """Start `auditflow serve` on free ports; give its address."""
        text = CONFIG.format(log_group=self._log_group, log_stream=self._log_stream)
        (folder / "auditflow.yaml").write_text(text)
        options = [
            "--config",
            f"{folder}/auditflow.yaml",
            "--data-dir",
            f"{folder}/data",
            "--port",
            "0",
            "--sink-port",
            "0",
        ]
        log = folder / "serve.log"
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "auditflow", "serve", *options], stderr=out, env=environment
            )
        try:
            url = _address(process, log)
            self._step("auditflow serve", f"{url}, with this configuration:")
            self._console.print(Syntax("", "yaml", background_color="default").highlight(text))
            yield url
        finally:
            process.terminate()
            process.wait()

    def _publish(self, url: str) -> None:
        report = Report()
        started = time.monotonic()
        events = sample_events(seed=time.time_ns())
        with Publisher(url) as publisher:
            while report.accepted < self._count:
                part = list(islice(events, min(CHUNK, self._count - report.accepted)))
                lines = [msgspec.json.encode({"eventId": str(uuid_utils.uuid7())} | event) for event in part]
                publisher.publish(Chunk(lines, [""] * len(lines)), report)
        seconds = time.monotonic() - started
        self._step(
            "Published", f"{report.accepted:,} events in {seconds:.1f} s, each answered when it was on disk"
        )

    def _delivered(self, url: str) -> dict[str, Any]:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            status = fetch(url)
            row = status["pipelines"][0]
            if not row["pending"] and row["accepted"] == self._count:
                return status
            if time.monotonic() > deadline or row["state"] == "blocked":
                error = row["lastError"] or {
                    "code": "TIMED_OUT",
                    "message": "not delivered in time",
                    "hint": "",
                }
                raise DemoFailed(reason=f"{error['code']}: {error['message']}", suggestion=error["hint"])
            time.sleep(0.1)

    def _read_back(self, environment: Mapping[str, str]) -> list[dict[str, Any]]:
        """Read the stream with boto3, as any user of CloudWatch would."""
        try:
            import boto3
        except ImportError:
            raise MissingExtra(what="The demo", package="boto3", extra="aws") from None
        keys = {
            "aws_access_key_id": environment.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": environment.get("AWS_SECRET_ACCESS_KEY"),
            "endpoint_url": environment.get("AWS_ENDPOINT_URL"),
        }
        client = boto3.client("logs", region_name=self._region, **({} if self._aws else keys))
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=self._log_group, logStreamNames=[self._log_stream]
        )
        return [event for page in pages for event in page["events"]]

    def _show(self, found: list[dict[str, Any]]) -> None:
        events = [msgspec.json.decode(item["message"]) for item in found]
        self._step(
            "Read back with boto3",
            f"the last {min(SHOWN, len(events))} of {len(events):,} events",
        )
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("time", "event", "who", "outcome", "where"):
            table.add_column(heading)
        for event in events[-SHOWN:]:
            extra, place = event["extra"], event["geolocation"]
            table.add_row(
                event["eventTime"][11:23], event["eventType"], extra["userId"], extra["actionStatus"],
                f"{place['city']}, {place['countryCode']}",
            )  # fmt: skip
        self._console.print(table, "")
        distinct = len({event["eventId"] for event in events})
        missing, repeated = self._count - distinct, len(events) - distinct
        self._console.print(
            f"[bold]{self._count:,} published, {distinct:,} found in CloudWatch, {missing} missing, {repeated} repeated.[/bold]"
        )
        if missing:
            raise DemoFailed(reason=f"{missing} events are missing", suggestion="Please report this.")

    def _step(self, title: str, text: str) -> None:
        self._console.print(f"[bold green]●[/bold green] [bold]{title}[/bold]: {text}")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until the server says that it is ready, and where."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if match := re.search(r"ready: publish to (\S+)/audit/publish", log.read_text()):
            return match[1]
        time.sleep(0.05)
    raise DemoFailed(reason=f"auditflow serve did not start: {log.read_text().strip()}", suggestion="")
