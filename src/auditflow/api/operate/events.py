"""Where an event is: its number, and what has become of it in every pipeline."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Path, Query

from auditflow.api.identity import identity
from auditflow.api.tenancy import Calling
from auditflow.api.times import rfc3339
from auditflow.config import Running
from auditflow.event.model import TENANT_PATTERN, UUID_PATTERN, owner_and_id
from auditflow.journal import Block, Journal
from auditflow.ledger import Account, Ledger, Receipt
from auditflow.pipelines.decide.filter_reason import filter_reason

State = dict[str, Any]

KEPT_BLOCKS: Final = 4
"""Who asks for one event often asks for its neighbours; to decode a block costs some milliseconds."""


class Where:
    """Derives what has become of an event from positions, receipts and dead letters.

    `pipelines` gives those that run, by name, as they are configured now; `retention` is how long receipts are kept, in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        pipelines: Callable[[], Mapping[str, Running]],
        *,
        retention: float = inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self.pipelines = pipelines
        self._retention = retention
        self._clock = clock
        self._blocks: deque[Block] = deque(maxlen=KEPT_BLOCKS)

    def find(self, event_id: str, tenant: str | None = None) -> State | None:
        """Tell where the newest event with this id is, of the tenant if one is given; None where there is none."""
        for sequence in self._journal.find(event_id):
            event = self._event(sequence)
            owner = owner_and_id(event)[0] if event else None
            if tenant in {None, owner}:
                appended_at = self._journal.appended_at(sequence)
                return {
                    "eventId": event_id,
                    "tenant": owner,
                    "sequence": sequence,
                    "acceptedAt": rfc3339(appended_at) if appended_at else None,
                    "pipelines": [
                        identity(account.pipeline) | self._state(account, sequence, event)
                        for account in self._ledger.accounts()
                        if account.active and self._concerns(account, owner, sequence)
                    ],
                }
        return None

    def _concerns(self, account: Account, owner: str | None, sequence: int) -> bool:
        """Tell whether the event is the pipeline's; of one that is not retained, only what was recorded tells."""
        if not account.tenant or owner is not None:
            return account.tenant in {"", owner}
        name = account.pipeline
        return bool(self._ledger.dead_letter_of(name, sequence) or self._ledger.receipt_of(name, sequence))

    def _event(self, sequence: int) -> bytes | None:
        """Read the event; None when the journal no longer holds it."""
        block = next((each for each in list(self._blocks) if each.first <= sequence < each.end), None)
        if block is None:
            block = next(iter(self._journal.read(sequence, 1)), None)
            if block is None or block.damage or not block.first <= sequence < block.end:
                return None
            self._blocks.append(block)
        return block.events[sequence - block.first] or None  # empty where it is gone

    def _state(self, account: Account, sequence: int, event: bytes | None) -> State:
        if any(replay_range.open(sequence) for replay_range in account.replay_ranges):
            return self._pending(account, sequence) | {"again": True}
        letter = self._ledger.dead_letter_of(account.pipeline, sequence)
        if letter is not None:
            return {
                "state": "replaying" if letter.target else "deadLettered",
                "letter": letter.id,
                "code": letter.code,
                "reason": letter.reason,
                "attempts": letter.attempts,
                "at": rfc3339(letter.last_failed),
            }
        receipt = self._ledger.receipt_of(account.pipeline, sequence)
        if receipt is not None:
            return _received(receipt)
        if sequence < account.base:
            return {"state": "none", "reason": "the pipeline began after this event"}
        if not account.progress.finished(sequence):
            return self._pending(account, sequence)
        return self._filtered(account, sequence, event)

    def _pending(self, account: Account, sequence: int) -> State:
        condition = json.loads(account.condition)
        return {
            "state": "pending",
            "pipelineState": "paused" if account.paused else condition.get("state", "active"),
            "ahead": max(0, sequence - account.oldest_open()),
            "lastError": condition.get("lastError"),
        }

    def _filtered(self, account: Account, sequence: int, event: bytes | None) -> State:
        running = self.pipelines().get(account.pipeline) if event else None
        config = running.config if running else None
        reason = filter_reason(event, config.condition, config.sample) if event and config else None
        if reason is not None:
            return {"state": "filtered", "reason": reason}
        appended_at = self._journal.appended_at(sequence)
        if appended_at is None or self._clock() - appended_at / 1000 >= self._retention:
            # a block stays longer than receipts while another pipeline still needs it
            return {"state": "ended", "reason": "it is too long ago: its receipt is not kept any more"}
        return {"state": "filtered", "reason": "a transformer dropped it, or a former configuration"}


def _received(receipt: Receipt) -> State:
    place = json.loads(receipt.place)
    at = rfc3339(receipt.at)
    if place.get("purged"):
        return {"state": "purged", "reason": "its dead letter was deleted", "at": at}
    owed = {"backfilling": True} if receipt.owed else {}
    return {"state": "delivered", "at": at, "attempts": receipt.attempts, "where": place} | owed


def router(where: Where) -> APIRouter:
    """Build the call that says where an event is."""
    routes = APIRouter(prefix="/api/v1/events", tags=["operate"])

    @routes.get("/{event_id}", summary="Where an event is: its number, and its state in every pipeline")
    def read_event(
        event_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
        caller: Calling,
        tenant: Annotated[str | None, Query(pattern=TENANT_PATTERN + "|^_platform$")] = None,
    ) -> State:
        if not re.fullmatch(UUID_PATTERN, event_id):
            raise HTTPException(400, "eventId: expected a UUID, as publishing answers it")
        found = where.find(event_id.lower(), caller.own(tenant))
        if found is None:
            raise HTTPException(
                404, f"No event {event_id} is known; journal.dedup-window says how long ids are kept"
            )
        return caller.without_numbers(found)

    return routes
