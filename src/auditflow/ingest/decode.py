"""Validates raw events and stamps them with what the server knows.

Events that arrive together are mostly alike, and mostly valid: `_together` checks and stamps them in passes over
all of them. What it does not expect goes the long way, event by event, where `validate` names the field that is
wrong. Both give the same result for what both take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from operator import attrgetter
from typing import Annotated, Final

import msgspec
import uuid_utils
from msgspec import UNSET, Meta, UnsetType

from auditflow.errors import InvalidRequest, ReservedEvent, TenantRefused
from auditflow.event.depth import MAX_DEPTH, is_too_deep
from auditflow.event.model import (
    MAX_EXTRA_KEYS,
    NO_TENANT,
    PLATFORM_TENANT,
    Geolocation,
    Header,
    Name,
    any_own,
    is_own,
)
from auditflow.event.time import epoch_ms, utc_times
from auditflow.ingest.limits import Limits
from auditflow.ingest.repeated_keys import any_repeated
from auditflow.ingest.stamp import Stamp, client_time, filled, stamped
from auditflow.ingest.validate import is_tenant, validate
from auditflow.journal import AppendBatch

_UUID_LENGTH: Final = 36
_UUID_BYTES: Final = 16
_UUID_DASHES: Final = (8, 13, 18, 23)
_ID: Final = len('"eventId":"",') + _UUID_LENGTH
_FULL: Final = (
    len('{"eventType":"a","sourceSystem":"b","extra":{}}') + (MAX_EXTRA_KEYS + 1) * len('"":0,') - 1
)
"""Bytes of the shortest event with too many keys in `extra`; one with an id has `_ID` more."""


@dataclass(slots=True)
class Rejection:
    """An event of a request that was not accepted."""

    index: int
    error: InvalidRequest | TenantRefused


@dataclass(slots=True)
class Decoded:
    """The valid events of a request as a batch, where each stood in the request, and the others."""

    batch: AppendBatch
    indexes: Sequence[int]
    rejected: list[Rejection] = field(default_factory=list)

    def without(self, refused: Mapping[str, TenantRefused]) -> Decoded:
        """Give the same request with the events of these tenants among the rejected."""
        owners = enumerate(self.batch.tenants)
        return self.less({i: refused[tenant] for i, tenant in owners if tenant in refused})

    def less(self, errors: Mapping[int, InvalidRequest | TenantRefused]) -> Decoded:
        """Give the same request with some events, by their place in the batch, among the rejected."""
        batch, indexes = self.batch, self.indexes
        kept = [i for i in range(len(batch.events)) if i not in errors]
        supplied = set(batch.supplied)
        rejected = [Rejection(indexes[i], error) for i, error in errors.items()]
        rest = AppendBatch(
            [batch.events[i] for i in kept],
            [batch.ids[i] for i in kept],
            [batch.tenants[i] for i in kept],
            [place for place, i in enumerate(kept) if i in supplied],
            [batch.times[i] for i in kept] if batch.times else (),
        )
        return Decoded(rest, [indexes[i] for i in kept], self.rejected + rejected)

    def behind(self, count: int) -> Decoded:
        """Give the same for events that stood behind so many others in their request."""
        rejected = [Rejection(each.index + count, each.error) for each in self.rejected]
        return Decoded(self.batch, [index + count for index in self.indexes], rejected)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Make one of the parts of a request, in their order."""
    if len(parts) == 1:
        return parts[0]
    batches = [part.batch for part in parts]
    firsts = accumulate((len(batch.events) for batch in batches), initial=0)
    whole = AppendBatch(
        list(chain.from_iterable(batch.events for batch in batches)),
        list(chain.from_iterable(batch.ids for batch in batches)),
        list(chain.from_iterable(batch.tenants for batch in batches)),
        [first + place for first, batch in zip(firsts, batches, strict=False) for place in batch.supplied],
        list(chain.from_iterable(batch.times for batch in batches)),
    )
    indexes = list(chain.from_iterable(part.indexes for part in parts))
    return Decoded(whole, indexes, list(chain.from_iterable(part.rejected for part in parts)))


def decode(raws: Sequence[bytes], stamp: Stamp, limits: Limits) -> Decoded:
    """Validate and stamp every event of a request.

    An invalid event does not spoil the others: it is in `rejected`, with a message that names the field.
    """
    return decode_each(raws, [stamp] * len(raws), limits)


def decode_each(raws: Sequence[bytes], stamps: Sequence[Stamp], limits: Limits) -> Decoded:
    """Do the same for the events of several requests of one moment, each with its own stamp."""
    together = _together(raws, stamps, limits)
    return together or _one_by_one(raws, stamps, limits)


def _one_by_one(raws: Sequence[bytes], stamps: Sequence[Stamp], limits: Limits) -> Decoded:
    batch = AppendBatch([], [], [], supplied := [], times := [])
    decoded = Decoded(batch, indexes := [])
    received = stamps[0].received_ms
    for index, (raw, stamp) in enumerate(zip(raws, stamps, strict=True)):
        try:
            header = validate(raw, limits.event_bytes)
            if is_own(header) and not stamp.own:
                raise ReservedEvent
        except InvalidRequest as error:
            decoded.rejected.append(Rejection(index, error))
            continue
        if header.event_id:
            supplied.append(len(batch.events))
        event_id = header.event_id or str(uuid_utils.uuid7())
        batch.events.append(stamped(raw, header, event_id, stamp))
        batch.ids.append(event_id.lower())
        batch.tenants.append(stamp.tenant or _tenant(header))
        times.append(_happened(header, received))
        indexes.append(index)
    return decoded


def _happened(header: Header, received: int) -> int:
    said = header.event_time or client_time(header)
    try:
        return epoch_ms(said) if said else received
    except ValueError:  # a year that is beyond what can be counted
        return received


def _tenant(header: Header) -> str:
    tenant = header.tenant_id
    return tenant if tenant and tenant.strip() not in NO_TENANT else PLATFORM_TENANT


class _Object(msgspec.Struct, gc=False):
    """Any JSON object; nothing of it is kept."""


class _Expected(msgspec.Struct, gc=False, rename="camel"):
    """A header without anything odd: what it does not take may be valid all the same."""

    event_type: Name
    source_system: Name
    event_id: str | UnsetType = UNSET
    event_time: str | UnsetType = UNSET
    timestamp: UnsetType = UNSET  # a client's own has to be replaced
    correlation_id: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    tenant_id: str | UnsetType = UNSET
    geolocation: Geolocation | UnsetType = UNSET
    extra: _Object | UnsetType = UNSET


_expected = msgspec.json.Decoder(_Expected)


def _together(raws: Sequence[bytes], stamps: Sequence[Stamp], limits: Limits) -> Decoded | None:
    """Take all events at once; None when there is anything about one of them to look at."""
    text = b"".join(raws)
    if b"\n" in text or b"\r" in text or max(map(len, raws)) > limits.event_bytes:
        return None
    try:
        text.decode()  # fields that the header skips must be UTF-8 too
        headers = list(map(_expected.decode, raws))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ids, times, tenants = _ids(headers), _times(headers, stamps[0]), _tenants(headers, stamps)
    if (
        ids is None
        or times is None
        or tenants is None
        or any_own({each.source_system for each in headers}, {each.event_type for each in headers})
        or any_repeated(text, raws, _beginnings(headers))
    ):
        return None
    supplied = [place for place, header in enumerate(headers) if header.event_id is not UNSET]
    full = _FULL + _ID * (len(supplied) == len(raws))
    if [
        raw
        for raw in raws
        if (len(raw) >= full and raw.count(b":") > MAX_EXTRA_KEYS)
        or (len(raw) > 2 * MAX_DEPTH and is_too_deep(raw))
    ]:
        return None
    events = _stamped(raws, headers, stamps, ids)
    if events is None:
        return None
    return Decoded(AppendBatch(events, ids, tenants, supplied, times), range(len(raws)))


def _beginnings(headers: Sequence[_Expected]) -> dict[bytes, int]:
    """Count the fields that the events have, by how they begin."""
    most = len(headers)

    def count(name: str) -> int:
        return most - list(map(attrgetter(name), headers)).count(UNSET)

    return {
        b'"event': most + count("event_id") + count("event_time"),
        b'"sourceSystem"': most,
        b'"tenantId"': count("tenant_id"),
        b'"correlationId"': count("correlation_id"),
        b'"geolocation"': count("geolocation"),
        b'"extra"': count("extra"),
    }


def _ids(headers: Sequence[_Expected]) -> list[str] | None:
    """Give the events' ids, new ones for those that have none; None when one is no UUID."""
    given = [header.event_id for header in headers if header.event_id is not UNSET]
    if given and not _are_uuids(given):
        return None
    if len(given) == len(headers):
        return [event_id.lower() for event_id in given]
    return [
        str(uuid_utils.uuid7()) if header.event_id is UNSET else header.event_id.lower() for header in headers
    ]


def _are_uuids(ids: list[str]) -> bool:
    text = "".join(ids)
    dashes = "-" * len(ids)
    if set(map(len, ids)) != {_UUID_LENGTH} or any(text[at::_UUID_LENGTH] != dashes for at in _UUID_DASHES):
        return False
    try:
        digits = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return False
    return len(digits) == _UUID_BYTES * len(ids)  # else there were more dashes, or spaces


def _times(headers: Sequence[_Expected], stamp: Stamp) -> list[int] | None:
    """Give when the events happened; None when one says it in a way that must be looked at."""
    texts = [header.event_time for header in headers if header.event_time is not UNSET]
    if not texts:
        return [stamp.received_ms] * len(headers)
    times = utc_times(texts)
    if times is None or len(times) == len(headers):
        return times
    said, received = iter(times), stamp.received_ms
    return [received if header.event_time is UNSET else next(said) for header in headers]


def _tenants(headers: Sequence[_Expected], stamps: Sequence[Stamp]) -> list[str] | None:
    """Give whose the events are; None when one names what is no tenant, or not the one who publishes."""
    named = [(header.tenant_id, stamp.tenant) for header, stamp in zip(headers, stamps, strict=True)]
    owners: dict[tuple[str | UnsetType, str | None], str] = {}
    for name, publisher in set(named):
        if publisher is not None:
            if name is not UNSET and name != publisher:
                return None
            owners[name, publisher] = publisher
        elif name is UNSET or name.strip() in NO_TENANT:
            owners[name, publisher] = PLATFORM_TENANT
        elif is_tenant(name):
            owners[name, publisher] = name
        else:
            return None
    return [owners[pair] for pair in named] if len(owners) > 1 else [owners[named[0]]] * len(named)


def _stamped(
    raws: Sequence[bytes], headers: Sequence[_Expected], stamps: Sequence[Stamp], ids: list[str]
) -> list[bytes] | None:
    """Put the server's fields in front of every event; None when a correlation id is blank."""
    correlations = [header.correlation_id for header in headers]
    if not all(map(filled, set(correlations) - {UNSET})):
        return None
    kinds = {
        (header.event_id is UNSET, header.correlation_id is UNSET, header.tenant_id is UNSET)
        for header in headers
    }
    if len(kinds) == 1 and stamps[0] is stamps[-1] and len(set(map(id, stamps))) == 1:
        ((without_id, correlation, tenant),) = kinds
        front = stamps[0].front(correlation=correlation, tenant=tenant)
        if not without_id:
            return [front + raw[1:] for raw in raws]
        front += b'"eventId":"%b",'
        return [front % event_id.encode() + raw[1:] for event_id, raw in zip(ids, raws, strict=True)]
    return [
        stamp.front(correlation=header.correlation_id is UNSET, tenant=header.tenant_id is UNSET)
        + (b'"eventId":"%b",' % event_id.encode() if header.event_id is UNSET else b"")
        + raw[1:]
        for stamp, header, raw, event_id in zip(stamps, headers, raws, ids, strict=True)
    ]
