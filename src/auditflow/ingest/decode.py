"""Validates raw events and stamps them with what the server knows.

A request's events are mostly alike, and mostly valid: `_together` checks and stamps them in passes over all of
them. What it does not expect goes the long way, event by event, where `validate` names the field that is wrong.
Both give the same result for what both take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Final

import msgspec
import uuid_utils
from msgspec import UNSET, Meta, UnsetType

from auditflow.errors import InvalidRequest, ReservedEvent, TenantRefused
from auditflow.event.model import (
    MAX_EXTRA_KEYS,
    NO_TENANT,
    OWN_SOURCE,
    PLATFORM_TENANT,
    Geolocation,
    Header,
    Name,
    is_own,
)
from auditflow.event.time import epoch_ms, utc_times
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp, filled, stamped
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


def decode(raws: Sequence[bytes], stamp: Stamp, limits: Limits) -> Decoded:
    """Validate and stamp every event of a request.

    An invalid event does not spoil the others: it is in `rejected`, with a message that names the field.
    """
    together = _together(raws, stamp, limits)
    return together or _one_by_one(raws, stamp, limits)


def _one_by_one(raws: Sequence[bytes], stamp: Stamp, limits: Limits) -> Decoded:
    batch = AppendBatch([], [], [], supplied := [], times := [])
    decoded = Decoded(batch, indexes := [])
    received = stamp.received_ms
    for index, raw in enumerate(raws):
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
    try:
        return epoch_ms(header.event_time) if header.event_time else received
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
_source = attrgetter("source_system")


def _together(raws: Sequence[bytes], stamp: Stamp, limits: Limits) -> Decoded | None:
    """Take all events at once; None when there is anything about one of them to look at."""
    text = b"".join(raws)
    if b"\n" in text or b"\r" in text or max(map(len, raws)) > limits.event_bytes:
        return None
    try:
        text.decode()  # fields that the header skips must be UTF-8 too
        headers = list(map(_expected.decode, raws))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    ids, times, tenants = _ids(headers), _times(headers, stamp), _tenants(headers, stamp)
    if ids is None or times is None or tenants is None or OWN_SOURCE in map(_source, headers):
        return None
    supplied = headers[0].event_id is not UNSET
    full = _FULL + _ID * supplied
    if [raw for raw in raws if len(raw) >= full and raw.count(b":") > MAX_EXTRA_KEYS]:
        return None
    events = _stamped_alike(raws, headers, stamp, None if supplied else ids)
    if events is None:
        return None
    everything = range(len(raws))
    return Decoded(AppendBatch(events, ids, tenants, everything if supplied else (), times), everything)


def _ids(headers: Sequence[_Expected]) -> list[str] | None:
    """Give the events' ids, or new ones; None when only some have one, or one is no UUID."""
    ids = [header.event_id for header in headers]
    absent = ids.count(UNSET)
    if absent:
        return [str(uuid_utils.uuid7()) for _ in ids] if absent == len(ids) else None
    text = "".join(ids)  # type: ignore[arg-type] # none of them is UNSET
    dashes = "-" * len(ids)
    if set(map(len, ids)) != {_UUID_LENGTH} or any(text[at::_UUID_LENGTH] != dashes for at in _UUID_DASHES):  # type: ignore[arg-type]
        return None
    try:
        digits = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    if len(digits) != _UUID_BYTES * len(ids):  # there were more dashes, or spaces
        return None
    return ids if text == text.lower() else [event_id.lower() for event_id in ids]  # type: ignore[return-value, union-attr]


def _times(headers: Sequence[_Expected], stamp: Stamp) -> list[int] | None:
    """Give when the events happened; None when only some say it, or one in a way that must be looked at."""
    texts = [header.event_time for header in headers]
    absent = texts.count(UNSET)
    if absent:
        return [stamp.received_ms] * absent if absent == len(texts) else None
    return utc_times(texts)  # type: ignore[arg-type] # none of them is UNSET


def _tenants(headers: Sequence[_Expected], stamp: Stamp) -> list[str] | None:
    """Give whose the events are; None when one names what is no tenant, or not the one who publishes."""
    named = [header.tenant_id for header in headers]
    distinct = set(named)
    if stamp.tenant is not None:
        return [stamp.tenant] * len(named) if distinct <= {UNSET, stamp.tenant} else None
    owners = {}
    for name in distinct:
        if name is UNSET or name.strip() in NO_TENANT:
            owners[name] = PLATFORM_TENANT
        elif is_tenant(name):
            owners[name] = name
        else:
            return None
    return [owners[name] for name in named] if len(owners) > 1 else [owners[named[0]]] * len(named)


def _stamped_alike(
    raws: Sequence[bytes], headers: Sequence[_Expected], stamp: Stamp, assigned: list[str] | None
) -> list[bytes] | None:
    """Stamp events that all bring a correlation id and a tenant, or all do not; None when they differ."""
    correlations = [header.correlation_id for header in headers]
    absent = correlations.count(UNSET)
    unnamed = [header.tenant_id for header in headers].count(UNSET) if stamp.tenant is not None else 0
    if absent not in {0, len(raws)} or unnamed not in {0, len(raws)}:
        return None
    if not absent and not all(map(filled, set(correlations))):
        return None
    front = stamp.front(correlation=bool(absent), tenant=bool(unnamed))
    if assigned is None:
        return [front + raw[1:] for raw in raws]
    front += b'"eventId":"%s",'
    return [front % event_id.encode() + raw[1:] for event_id, raw in zip(assigned, raws, strict=True)]
