"""Dead letters over HTTP: read from the ledger here, replayed and purged by the delivery process."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from auditflow.api.tenancy import Caller, Calling
from auditflow.api.times import Time, rfc3339
from auditflow.errors import InvalidRequest
from auditflow.event.model import encode, is_own, owner_and_id
from auditflow.ingest.validate import validate
from auditflow.ledger import DeadLetter, DeadLetterGroup, Ledger, Selection
from auditflow.ledger.commands import Commands

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
"""Of an edited event: that it was accepted once is what counts."""
MOST_IDS: Final = 10_000
"""Ids in one filter."""
LARGEST_ID: Final = 2**63 - 1
"""Of an integer in SQLite."""

Name = Annotated[str, Field(min_length=1)]
"""Never empty: an unset variable of a script must not select other dead letters than its author meant."""


def _not_too_many(ids: list[int]) -> list[int]:
    if len(ids) > MOST_IDS:  # not in the schema: no query is long enough for so many
        raise ValueError(f"at most {MOST_IDS} ids are taken at once")
    return ids


class Filter(BaseModel):
    """Which dead letters: those that agree with everything given."""

    model_config = ConfigDict(extra="forbid")

    tenant: Name | None = None
    pipeline: Name | None = None
    code: Name | None = None
    since: Time | None = None
    """Failed last at or after this time."""
    until: Time | None = None
    """Failed last before this time."""
    ids: Annotated[list[int], AfterValidator(_not_too_many)] | None = None

    def selection(self, caller: Caller) -> Selection:
        """Give the filter as the ledger takes it, limited to what is the caller's own. Raises HTTPException."""
        return Selection(
            pipeline=self.pipeline, tenant=caller.own(self.tenant), code=self.code, since=_milliseconds(self.since),
            until=_milliseconds(self.until), ids=self.ids,
        )  # fmt: skip


class Page(Filter):
    """A filter, and which part of what it selects."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = PAGE
    cursor: Annotated[int, Field(ge=0, le=LARGEST_ID)] = 0
    """The `cursor` of the page before."""


class Purge(Filter):
    """Letters to delete."""

    all: bool = False
    """Whether an empty filter means every dead letter."""


class ReplayOrder(Filter):
    """Letters to deliver again, and how."""

    to: Name | None = None
    """Pipeline that delivers them; each dead letter's own if absent."""
    rate: Annotated[float, Field(ge=0.01, le=1e6)] | None = None
    """Events per second; as fast as the destination takes them if absent."""


class EditedReplay(BaseModel):
    """How to deliver one dead letter again."""

    model_config = ConfigDict(extra="forbid")

    to: Name | None = None
    """Pipeline that delivers it; its own if absent."""
    event: dict[str, Any] | None = None
    """What to deliver in its place, with the same `eventId` and tenant."""


def router(ledger: Ledger, commands: Commands) -> APIRouter:
    """Build the calls under `/api/v1/dead-letters`."""
    routes = APIRouter(prefix="/api/v1/dead-letters", tags=["operate"])

    @routes.get("", summary="Dead letters by id, and their number by pipeline and code")
    def list_letters(page: Annotated[Page, Query()], caller: Calling) -> dict[str, Any]:
        selection = page.selection(caller)
        letters = ledger.dead_letters(selection, page.cursor, page.limit)
        return {
            "letters": [caller.without_numbers(_shown(letter)) for letter in letters],
            "groups": [_counted(group) for group in ledger.dead_letter_groups(selection)],
            "cursor": letters[-1].id if letters else None,
        }

    @routes.get(
        "/{number:int}",
        summary="One dead letter, with its event and the failures before",
        response_model=dict[str, Any],
    )
    def read_letter(number: int, caller: Calling) -> Response:
        letter = _find(ledger, number, caller)
        history = msgspec.Raw(letter.history.encode())
        whole = caller.without_numbers(_shown(letter)) | {"event": _held(letter.event), "history": history}
        return Response(msgspec.json.encode(whole), media_type="application/json")

    @routes.post("/replay", summary="Deliver the selected dead letters again")
    async def replay(order: ReplayOrder, caller: Calling) -> dict[str, Any]:
        caller.check(order.to or order.pipeline)
        chosen, how = asdict(order.selection(caller)), {"to": order.to, "rate": order.rate or 0.0}
        return await commands.ask("replay", selection=chosen, replay=how, by=caller.by)

    @routes.post("/{number:int}/replay", summary="Deliver one dead letter again, as it is or edited")
    async def replay_one(number: int, order: EditedReplay, caller: Calling) -> dict[str, Any]:
        letter = _replayable(ledger, number, caller)
        caller.check(order.to)
        event = None if order.event is None else _edited(letter, order.event)
        chosen = asdict(Selection(pipeline=letter.pipeline, ids=[number]))
        how = {"to": order.to, "event": event, "by": caller.by["actor"] or ""}
        return await commands.ask("replay", selection=chosen, replay=how, by=caller.by)

    @routes.delete("", summary="Delete the selected dead letters; their events stay counted as dead-lettered")
    async def purge(order: Annotated[Purge, Query()], caller: Calling) -> dict[str, Any]:
        selection = order.selection(caller)
        if selection == Selection(tenant=caller.tenant) and not (order.tenant or order.all):
            ways = "pipeline, tenant, code, since, until or ids, or say all=true"
            raise HTTPException(400, f"Select letters by {ways}")
        return await commands.ask("purge", selection=asdict(selection), by=caller.by)

    return routes


def _find(ledger: Ledger, number: int, caller: Caller) -> DeadLetter:
    letters = ledger.dead_letters(Selection(tenant=caller.tenant, ids=[number]), limit=1)
    if not letters:
        raise HTTPException(404, f"There is no dead letter {number}")
    return letters[0]


def _replayable(ledger: Ledger, number: int, caller: Caller) -> DeadLetter:
    letter = _find(ledger, number, caller)
    if letter.target or not letter.event:
        reason = (
            "is being delivered again already"
            if letter.target
            else "has no event: it was lost in the journal"
        )
        raise HTTPException(409, f"Dead letter {number} {reason}")
    return letter


def _edited(letter: DeadLetter, event: dict[str, Any]) -> str:
    """Write the edited event. Raises HTTPException where it is none, or no longer the same tenant's same event."""
    written = encode(event)
    if owner_and_id(written) != (letter.tenant, letter.event_id):
        raise HTTPException(400, f"event: eventId has to stay {letter.event_id}, and tenantId as it was")
    try:
        headers = [validate(each, max_bytes=sys.maxsize) for each in (written, letter.event)]
    except InvalidRequest as error:
        raise HTTPException(400, f"event: {error}") from None
    if any(map(is_own, headers)):
        raise HTTPException(
            403, "event: what AuditFlow says of itself can be delivered as it is, and not edited"
        )
    return written.decode()


def _shown(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "pipeline": letter.pipeline,
        "tenant": letter.tenant or None,
        "eventId": letter.event_id or None,
        "sequence": letter.sequence,
        "events": letter.count,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "firstFailed": rfc3339(letter.first_failed),
        "lastFailed": rfc3339(letter.last_failed),
        "replayingTo": letter.target or None,
        "bytes": len(letter.event),
    }


def _counted(group: DeadLetterGroup) -> dict[str, Any]:
    return {
        "pipeline": group.pipeline,
        "code": group.code,
        "letters": group.letters,
        "events": group.events,
        "firstFailed": rfc3339(group.first_failed),
        "lastFailed": rfc3339(group.last_failed),
    }


def _held(event: bytes) -> msgspec.Raw | str | None:
    """Give the event byte for byte where it is JSON, however deep, and as text where it is not."""
    try:
        event.decode()
        return msgspec.json.decode(event, type=msgspec.Raw) if event else None
    except (ValueError, RecursionError):
        return event.decode("utf-8", "replace")


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
