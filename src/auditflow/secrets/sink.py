"""Puts a tenant's secrets into a sink's properties when it is used, and again when they have changed."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from pydantic import ValidationError

from auditflow.errors import AuditFlowError, SecretsUnavailable, SecretUnfit
from auditflow.masking import hide
from auditflow.plugin_call import in_own_thread, text_of
from auditflow.secrets.references import Checked, Sealed, without
from auditflow.secrets.sources import SecretSource
from auditflow.settings import Fault, faults
from auditflow.sinks._base import BatchLimits, Outcome, Sink, Verdict

LOOK_SECONDS: Final = 5.0
"""How long secrets are used before their source is asked again."""

_log = logging.getLogger(__name__)


class SecretSink(Sink[Any]):
    """A sink whose properties refer to secrets.

    The sink proper is made at the first delivery, and again when a secret has changed; after a delivery that was
    blocked the secrets are asked for at once. What it says repeats none of them.
    """

    def __init__(
        self,
        name: str,
        sealed: Sealed,
        source: SecretSource,
        parse: Callable[[Any], Checked],
        create: Callable[[Checked], Sink[Any]],
    ) -> None:
        """Make it without I/O; `parse` and `create` check properties and make the sink proper."""
        super().__init__(sealed)
        self._name = name
        self._source = source
        self._parse = parse
        self._create = create
        self._like = create(sealed.shown) if sealed.shown is not None else None
        """Never opened: it tells what is asked before the secrets are known."""
        self._current: _Filled | None = None
        self._hidden: Collection[str] = ()
        """What nobody is told: the secrets as they are now, and those before them that may still be in use."""
        self._looked_at = -inf
        self._looking = asyncio.Lock()

    @property
    def destination(self) -> str:
        """As the sink proper calls it."""
        if self._current:
            return without(self._current.sink.destination, self._hidden)
        return self._like.destination if self._like else self._name

    @property
    def limits(self) -> BatchLimits:
        """As the sink proper wants them."""
        known = self._known()
        return known.limits if known else BatchLimits()

    @property
    def ordered(self) -> bool:
        """As the sink proper says; until that is known, nothing is to overtake anything."""
        known = self._known()
        return known.ordered if known else True

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Let the sink proper deliver. Without its secrets it is blocked."""
        try:
            filled = await self._ready()
            outcomes = await self._deliver(filled, events)
        except SecretsUnavailable as error:
            outcomes = [Outcome(Verdict.RETRY, error.code, str(error), error.hint)] * len(events)
        except AuditFlowError as error:
            outcomes = [Outcome(Verdict.BLOCKED, error.code, str(error), error.hint)] * len(events)
        except Exception as error:  # noqa: BLE001 - told here, since what it says may repeat a secret
            _log.error("%s failed\n%s", self.destination, without(traceback.format_exc(), self._hidden))
            reason = f"{type(error).__name__}: {text_of(error)}"
            outcomes = [Outcome(Verdict.RETRY, "SINK_FAILED", reason)] * len(events)
        if any(outcome.verdict is Verdict.BLOCKED for outcome in outcomes):
            self._source.forget(self.properties.tenant)
            self._looked_at = -inf
        return _without_secrets(outcomes, self._hidden)

    async def probe(self) -> None:
        """Let the sink proper look. Raises what keeps the secrets from being had, too."""
        filled = await self._ready()
        await filled.sink.probe()

    async def close(self) -> None:
        """Close the sink proper, when calls under way have ended."""
        current, self._current = self._current, None
        if current and not current.calls:
            await current.sink.close()

    def _known(self) -> Sink[Any] | None:
        return self._current.sink if self._current else self._like

    async def _deliver(self, filled: _Filled, events: Sequence[bytes]) -> list[Outcome]:
        filled.calls += 1
        try:
            return await filled.sink.deliver(events)
        finally:
            filled.calls -= 1
            await self._retire(filled)

    async def _ready(self) -> _Filled:
        """Give the sink with the secrets as they are now, or were some seconds ago."""
        async with self._looking:
            if self._current and time.monotonic() - self._looked_at < LOOK_SECONDS:
                return self._current
            looked_at = time.monotonic()
            secrets = await in_own_thread(secrets_of, self.properties, self._source)
            hide(secrets.values())
            self._hidden = {*secrets.values(), *(self._current.secrets.values() if self._current else ())}
            if self._current is None or self._current.secrets != secrets:
                old, self._current = self._current, await self._opened(secrets)
                if old:
                    await self._retire(old)
            self._looked_at = looked_at
            return self._current

    async def _opened(self, secrets: Mapping[str, str]) -> _Filled:
        sink = self._create(unsealed(self._name, self.properties, secrets, self._parse))
        try:
            await sink.open()
        except BaseException:
            await sink.close()
            raise
        return _Filled(sink, secrets)

    async def _retire(self, filled: _Filled) -> None:
        """Close a sink that is not used any more once its last call has ended."""
        if filled is not self._current and not filled.calls:
            try:
                await filled.sink.close()
            except Exception as error:  # noqa: BLE001 - nothing can be done about it
                _log.error("closing %s failed: %s", self.destination, without(text_of(error), self._hidden))


@dataclass(slots=True, eq=False)
class _Filled:
    """A sink with secrets in place."""

    sink: Sink[Any]
    secrets: Mapping[str, str]
    calls: int = 0
    """Deliveries under way."""


def secrets_of(sealed: Sealed, source: SecretSource) -> dict[str, str]:
    """Get the secrets that properties refer to, by key. Raises what `source` raises for one that is not to be had."""
    return {key: source.get(sealed.tenant, key) for key in sealed.keys}


def unsealed(
    sink: str, sealed: Sealed, secrets: Mapping[str, str], parse: Callable[[Any], Checked]
) -> Checked:
    """Give a sink's properties with the secrets in place. Raises SecretUnfit."""
    try:
        return parse(sealed.filled(secrets))
    except ValidationError as error:
        reason = "; ".join(_without_values(fault, secrets.values()) for fault in faults(error))
        keys = ", ".join(secrets)
        raise SecretUnfit(sink=sink, tenant=sealed.tenant, reason=reason, keys=keys) from None


def _without_values(fault: Fault, secrets: Collection[str]) -> str:
    """Name the property; only what concerns none may be said as it is."""
    place = ".".join(map(str, fault.where))
    return place or without(fault.message, secrets)


def _without_secrets(outcomes: list[Outcome], secrets: Collection[str]) -> list[Outcome]:
    """Give the outcomes with asterisks for secrets; events of a request go on sharing outcome and place."""
    distinct = dict(zip(map(id, outcomes), outcomes, strict=True))
    places = {id(each.where): each.where for each in distinct.values()}
    places = {key: _cleaned(where, secrets) for key, where in places.items()}
    cleaned = {
        key: replace(
            each,
            reason=without(each.reason, secrets),
            hint=without(each.hint, secrets),
            where=places[id(each.where)],
        )
        for key, each in distinct.items()
    }
    return outcomes if cleaned == distinct else [cleaned[id(each)] for each in outcomes]


def _cleaned(value: Any, secrets: Collection[str]) -> Any:
    if isinstance(value, str):
        return without(value, secrets)
    if isinstance(value, Mapping):
        return {name: _cleaned(item, secrets) for name, item in value.items()}
    return [_cleaned(item, secrets) for item in value] if isinstance(value, list | tuple) else value
