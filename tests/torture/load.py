"""Publishes without pause, single events and batches, and remembers what was acknowledged."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from .configuration import TENANTS

OWNERS = (*TENANTS, None, None)


@dataclass(frozen=True)
class Sent:
    """What is to be known about a published event."""

    number: int
    """`extra.n`, which the conditions look at."""
    tenant: str | None
    began: float
    ended: float = 0.0
    """Seconds of the monotonic clock: when it was sent, and when it was acknowledged."""


class Load:
    """A publisher. What got no answer may or may not be stored."""

    def __init__(self, url: str, seed: int, rate: float) -> None:
        self.acknowledged: dict[str, Sent] = {}
        """By event id."""
        self.published: dict[str, Sent] = {}
        self.refused = 0
        """Requests that were answered with an error: nothing of them may be required."""
        self.problems: list[str] = []
        self._url, self._rate = f"{url}/audit/publish", rate
        self._dice = random.Random(seed)
        self._stop, self.going = threading.Event(), threading.Event()
        self.going.set()
        self.idle = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        """Publish nothing until `going` is set; return when no request is open."""
        self.idle.clear()
        self.going.clear()
        self.idle.wait(30)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx2.Client(timeout=5) as client:
            while not self._stop.is_set():
                if not self.going.is_set():
                    self.idle.set()
                    self._stop.wait(0.05)
                    continue
                count = self._dice.choice((1, 1, 20, 100))
                self._publish(client, [self._event() for _ in range(count)])
                self._stop.wait(count / self._rate)

    def _event(self) -> dict:
        event_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
        event = {"eventType": "a", "sourceSystem": "b", "eventId": event_id}
        tenant = self._dice.choice(OWNERS)
        return event | {"extra": {"n": self._dice.randrange(100)}} | ({"tenantId": tenant} if tenant else {})

    def _publish(self, client: httpx2.Client, events: list[dict]) -> None:
        now = time.monotonic()
        sent = {event["eventId"]: Sent(event["extra"]["n"], event.get("tenantId"), now) for event in events}
        self.published |= sent
        body = "\n".join(json.dumps(event) for event in events)
        kind = "application/json" if len(events) == 1 else "application/x-ndjson"
        try:
            answer = client.post(self._url, content=body.encode(), headers={"Content-Type": kind})
        except httpx2.TransportError:
            self._stop.wait(0.1)
            return
        if answer.status_code == 200:
            self._acknowledge(sent, answer.json())
        elif answer.status_code == 503 or (answer.status_code == 403 and "TENANT" in answer.text):
            self.refused += 1
            self._stop.wait(0.1)
        else:
            self.problems.append(f"publish was answered with {answer.status_code}: {answer.text[:300]}")

    def _acknowledge(self, sent: dict[str, Sent], answer: dict[str, Any]) -> None:
        """Take what the answer promises. An event of a tenant without a file is refused, and no other."""
        now = time.monotonic()
        refused = {each["index"]: each["code"] for each in answer.get("rejected", ())}
        wrong = {code for code in refused.values() if not code.startswith("TENANT_")}
        if wrong or answer.get("duplicate") or answer.get("duplicates"):
            self.problems.append(f"a new event was rejected or called a repeat: {str(answer)[:300]}")
        self.acknowledged |= {
            event_id: replace(each, ended=now)
            for index, (event_id, each) in enumerate(sent.items())
            if index not in refused
        }
