"""What must hold: during the run the balance of every pipeline, after it the whole account of every event."""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import httpx2

from auditflow.ledger import Selection
from auditflow.ledger.sqlite.ledger import SqliteLedger
from auditflow.pipelines.decide.sample import keeps
from auditflow.testing.cloudwatch import StrictCloudWatch

from .absence import Absences
from .configuration import NAMES, RENAMED
from .load import Load, Sent

COUNTERS = ("accepted", "delivered", "filtered", "deadLettered", "attempts", "possibleDuplicates")
KILL_SECONDS = 60.0
"""How long before a death of the delivery role an event may have been stored and not yet been recorded:
the longest call of the sink, drawn out by a fault and by SIGSTOP. Recording itself takes 20 ms."""

sampled = keeps(0.5)


def owns(pipeline: str, sent: Sent) -> bool:
    """Tell whether the event is the pipeline's to decide on: its tenant's, or without one."""
    tenant, _, _ = pipeline.rpartition("/")
    return tenant == (sent.tenant or "")


def takes(pipeline: str, event_id: str, sent: Sent) -> bool:
    """Tell whether the pipeline delivers the event: by its tenant, condition and sample."""
    return owns(pipeline, sent) and (pipeline != "sampled" or (sent.number < 50 and sampled(event_id)))


def reference(row: dict) -> str:
    """Name a pipeline of status as the command line does."""
    return (
        f"{row['tenant']}/{row['name']}" if row.get("tenant") not in {None, "-", "_platform"} else row["name"]
    )


class Watcher:
    """Reads status several times a second, whenever it answers."""

    def __init__(self, url: str, absences: Absences, *, monotonic: bool = True) -> None:
        self.checks = 0
        self.problems: list[str] = []
        self._url = f"{url}/api/v1/status"
        self._absences = absences
        self._monotonic = monotonic
        """Whether counters may never go back: not when the ledger is damaged."""
        self._before: dict[str, dict] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def status(self) -> dict[str, dict]:
        """Give the pipelines by name; empty while the API does not answer. Checks the balance."""
        try:
            answer = httpx2.get(self._url, timeout=5)
        except httpx2.TransportError:
            return {}
        if answer.status_code != 200:
            return {}
        rows = {reference(row): row for row in answer.json()["pipelines"]}
        for name, row in rows.items():
            self._check(name, row)
        self._absences.seen({name for name, row in rows.items() if row["state"] != "inactive"})
        return rows

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self.status()

    def _check(self, name: str, row: dict) -> None:
        self.checks += 1
        before = self._before.get(name)
        if row == before:
            return  # said already, if it is wrong
        ended = row["delivered"] + row["filtered"] + row["deadLettered"]
        if row["accepted"] != ended + row["pending"] or row["pending"] < 0:
            self.problems.append(f"does not balance: {row}")
        back = [counter for counter in COUNTERS if before and row[counter] < before[counter]]
        if back and self._monotonic and name != RENAMED:  # which begins anew when it owed nothing
            self.problems.append(f"{name}: {', '.join(back)} went backwards: {before} then {row}")
        self._before[name] = row


class Account:
    """What became of the events of one pipeline, as destination, ledger and status have it."""

    def __init__(self, pipeline: str, cloud: StrictCloudWatch, ledger: Path, row: dict) -> None:
        self.pipeline, self.row = pipeline, row
        self.stored: dict[str, list[float]] = defaultdict(list)
        """Event id → Unix times at which the destination took it."""
        self.own: set[str] = set()
        """Ids of AuditFlow's own audit events, such as that a pipeline was forgotten."""
        for record in sorted(
            cloud.events(f"/torture/{pipeline.partition('/')[0]}"), key=lambda each: each.ordinal
        ):
            event = json.loads(record.message)
            self.stored[event["eventId"]].append(record.ingestion_time / 1000)
            if event["eventType"].startswith("auditflow."):
                self.own.add(event["eventId"])
        self.letters = dead_letters(ledger, pipeline)
        self.lettered = {json.loads(each.event)["eventId"] for each in self.letters if each.event}
        self.repeats = sum(len(times) - 1 for times in self.stored.values())
        self.unexplained = 0
        """Repeats without a death of the delivery role between first and last."""

    def wanted(self, acknowledged: dict[str, Sent], absences: Absences) -> set[str]:
        """Give the acknowledged events that the pipeline has to bring to an end."""
        return {
            each
            for each, sent in acknowledged.items()
            if takes(self.pipeline, each, sent)
            and not absences.excuses(self.pipeline, sent.began, sent.ended)
        }

    def missing(self, acknowledged: dict[str, Sent], absences: Absences) -> set[str]:
        """Give those of them that are neither stored nor a dead letter."""
        return self.wanted(acknowledged, absences) - self.stored.keys() - self.lettered

    def problems(self, load: Load, absences: Absences, deaths: list[float]) -> list[str]:
        """Give every promise that was broken, a sentence each."""
        acknowledged, published = load.acknowledged, load.published
        wanted = self.wanted(acknowledged, absences)
        owned = sum(
            owns(self.pipeline, sent) and not absences.excuses(self.pipeline, sent.began, sent.ended)
            for sent in acknowledged.values()
        )
        lost = self.missing(acknowledged, absences)
        wrong = [
            each
            for each in self.stored.keys() - self.own
            if each not in published or not takes(self.pipeline, each, published[each])
        ]
        self.unexplained = sum(_unexplained(times, sorted(deaths)) for times in self.stored.values())
        row, dead = self.row, sum(each.count for each in self.letters)
        once = len(self.stored.keys() - self.lettered)
        broken = {
            f"{len(lost)} of {len(wanted)} acknowledged events are lost: {sorted(lost)[:3]}": lost,
            f"{len(wrong)} events that are not the pipeline's were delivered: {wrong[:3]}": wrong,
            f"accepted {row['accepted']} is less than acknowledged {owned}": row["accepted"] < owned,
            f"delivered {row['delivered']}, the destination holds {once} different events": (
                row["delivered"] != once
            ),
            f"deadLettered {row['deadLettered']}, the ledger has letters for {dead}": row["deadLettered"]
            != dead,
            f"{self.unexplained} repeats without a death of delivery, {row['possibleDuplicates']} reported": (
                self.unexplained > row["possibleDuplicates"]
            ),
        }
        return [f"{self.pipeline}: {what}" for what, holds in broken.items() if holds]


def accounts(cloud: StrictCloudWatch, ledger: Path, rows: dict[str, dict]) -> list[Account]:
    return [Account(name, cloud, ledger, rows[name]) for name in NAMES]


def dead_letters(path: Path, pipeline: str) -> list:
    ledger = SqliteLedger.reader(path)
    try:
        found: list = []
        chosen = Selection(pipeline=pipeline)
        while more := ledger.dead_letters(chosen, after=found[-1].id if found else 0):
            found += more
        return found
    finally:
        ledger.close()


def _unexplained(times: list[float], deaths: list[float]) -> int:
    """Count the repeats of an event that no death of the delivery role explains.

    A death explains a repeat when it lies between the two, not long after the first.
    """
    count = 0
    for first, again in pairwise(times):
        place = bisect_left(deaths, first)
        explained = place < len(deaths) and deaths[place] <= min(again, first + KILL_SECONDS)
        count += not explained
    return count
