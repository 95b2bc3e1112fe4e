"""The sink contract: deliver a batch to one destination and say, per event, what happened.

A sink is one file in this folder: a `Properties` model and a `Sink` subclass of the same module. The file
name is the sink's name; nothing is registered by hand. Names that begin with an underscore are shared parts.
"""
# Tested in tests/sinks/test_module.py.

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from auditflow.masking import hide_within, masked
from auditflow.settings import Settings
from auditflow.sinks._egress_policy import EgressPolicy


class Verdict(StrEnum):
    """What a destination made of one event."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Not now: throttled, unreachable, failing. Try again later."""
    REJECTED = "rejected"
    """Never: this event cannot be accepted. It becomes a dead letter."""
    BLOCKED = "blocked"
    """Not until somebody acts: permissions, credentials, a missing resource. Events are held."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its cause. Events of one request share one object."""

    verdict: Verdict
    code: str = ""
    """The destination's or our name for the cause, e.g. ``AccessDeniedException``."""
    reason: str = ""
    """What happened, for a person; never holds a secret."""
    hint: str = ""
    """The command or setting that fixes it."""
    retry_after: float = 0.0
    """Seconds the destination asked us to wait."""
    ambiguous: bool = False
    """The request may have been accepted although no answer came: a repeat may be a duplicate."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """For a delivered event: the place it is in, in the destination's words."""


DELIVERED: Final = Outcome(Verdict.DELIVERED)


def without_secrets(outcomes: list[Outcome]) -> list[Outcome]:
    """Give the outcomes with asterisks for secrets in what they say; events of a request go on sharing one."""
    told = {id(each): each for each in outcomes if each.reason or each.hint}
    cleaned = {
        key: replace(each, code=masked(each.code), reason=masked(each.reason), hint=masked(each.hint))
        for key, each in told.items()
    }
    return [cleaned.get(id(each), each) for each in outcomes] if cleaned != told else outcomes


def shared(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Give the outcome that all events share, as those of one request do; None when they differ."""
    first = outcomes[0] if outcomes else None
    return first if first is not None and outcomes.count(first) == len(outcomes) else None


class TimedEvents(list[bytes]):
    """Events of which is known when each happened, so that a sink need not read it out of them."""

    def __init__(self, events: Iterable[bytes], times: Sequence[int]) -> None:
        super().__init__(events)
        self.times = times
        """Unix milliseconds, one for each event."""


class Properties(Settings):
    """Base of all sink properties: kebab-case in YAML, numbers and booleans also as strings, nothing unknown.

    Every field carries a description; secrets are `pydantic.SecretStr`.
    """

    @classmethod
    def advice(cls, uses: Sequence[Use[Self]]) -> Iterable[Advice]:  # noqa: ARG003 - for those that have advice
        """Say what pipelines with sinks of this kind could do better, offline; `auditflow check` shows it."""
        return ()


P = TypeVar("P", bound=Properties)
P_co = TypeVar("P_co", bound=Properties, covariant=True)


@dataclass(frozen=True, slots=True)
class Use(Generic[P_co]):
    """A sink's properties in the pipeline that uses them."""

    pipeline: str
    properties: P_co
    from_environment: frozenset[str]
    """Names, as written, of the properties that an environment variable fills in."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a pipeline could do better."""

    pipeline: str
    message: str
    hint: str
    """The setting or command that does it."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one call of `deliver` takes at most, and how long to wait for it to fill."""

    events: int = 1000
    bytes: int = 1_048_576
    overhead: int = 0
    """Bytes the destination counts for each event on top of its own."""
    linger: float = 0.0
    """Seconds to wait for more events."""


class Sink(ABC, Generic[P]):
    """One destination. Created without I/O; `open` and `deliver` may be called from one event loop only."""

    Properties: ClassVar[type[Properties]]
    requires: ClassVar[Mapping[str, str]] = {}
    """Optional packages this sink imports → the extra that installs them, e.g. ``{"boto3": "aws"}``."""

    def __init__(self, properties: P) -> None:
        hide_within(properties)
        self.properties = properties
        self.egress: EgressPolicy | None = None
        """Where it may connect to, set before `open` where its properties are a caller's; None: anywhere."""

    @property
    def destination(self) -> str:
        """Name the destination for status and logs; holds no secret."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def limits(self) -> BatchLimits:
        """Say how large a batch `deliver` wants."""
        return BatchLimits()

    @property
    def ordered(self) -> bool:
        """Whether a pipeline delivers one batch after the other, so that no event overtakes an earlier one."""
        return False

    async def open(self) -> None:
        """Prepare: clients, pools. Raises MissingExtra, or whatever keeps the sink from working."""

    @abstractmethod
    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Deliver events (compact JSON each) and give one outcome per event, in order. Does not raise."""

    async def probe(self) -> None:
        """Check the destination with no permission that `deliver` does not need. Raises what is wrong."""

    async def close(self) -> None:
        """Release what `open` took; called once, also after a failed open."""
