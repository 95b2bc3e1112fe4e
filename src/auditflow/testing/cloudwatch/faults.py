"""Faults on demand: what may go wrong, to which requests, how often."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Final

from auditflow.testing.cloudwatch.protocol import Answer, ServiceError
from auditflow.testing.cloudwatch.traffic import Request

ERRORS: Final[Mapping[str, tuple[str, int, str]]] = {
    "throttle": ("ThrottlingException", 400, "Rate exceeded"),
    "unavailable": ("ServiceUnavailableException", 503, "The service cannot complete the request."),
    "internal": ("InternalFailure", 500, "An internal error occurred."),
    "expired-token": ("ExpiredTokenException", 400, "The security token included in the request is expired"),
    "unrecognized-client": (
        "UnrecognizedClientException",
        400,
        "The security token included in the request is invalid.",
    ),
    "kms-disabled": (
        "InvalidParameterException",
        400,
        "The specified KMS key does not exist, is disabled or is not allowed to be used with Arn '{arn}'",
    ),
    "kms-denied": (
        "AccessDeniedException",
        400,
        "The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'",
    ),
    "deny": (
        "AccessDeniedException",
        400,
        (
            "User: {identity} is not authorized to perform: {action} on resource: {resource} "
            "because no identity-based policy allows the {action} action"
        ),
    ),
    "invalid-sequence-token": (
        "InvalidSequenceTokenException",
        400,
        "The given sequenceToken is invalid. The next expected sequenceToken is: {token}",
    ),
    "already-accepted": (
        "DataAlreadyAcceptedException",
        400,
        "The given batch of log events has already been accepted. Its next sequenceToken is: {token}",
    ),
    "error": ("InternalFailure", 500, "An error on demand."),
}
"""Kind → code, status and message of the error it answers."""

HOSTILE: Final[Mapping[str, Answer]] = {
    "garbage": Answer(200, b"<html><body>It works!</body></html>", "text/html"),
    "redirect": Answer(307, b"", "text/html", {"Location": "http://[moved/", "Set-Cookie": "moved=1"}),
    "flood": Answer(503, bytes(2**26), "text/html"),
}
"""Kind → what something between answers in the service's place."""

OTHERS: Final = {"hang", "drip", "reset", "reset-after", "undecodable", "cut", "empty-page"}
"""Kinds that are not error answers."""

KINDS: Final = frozenset(ERRORS) | HOSTILE.keys() | OTHERS

_ONLY: Final = {
    "invalid-sequence-token": "PutLogEvents",
    "already-accepted": "PutLogEvents",
    "empty-page": "FilterLogEvents",
}
_EXPECTED: Final = "0" * 56
"""The sequence token that the obsolete errors name."""


@dataclass(slots=True)
class Fault:
    """A fault that strikes the requests it matches."""

    kind: str
    operation: str | None = None
    """Such as PutLogEvents or AssumeRole; None: all of them."""
    group: str | None = None
    """Log group, with `*` and `?` as wildcards."""
    stream: str | None = None
    """Log stream, with `*` and `?` as wildcards."""
    region: str | None = None
    account: str | None = None
    times: int | None = None
    """How often it strikes; None: until removed."""
    rate: float = 1.0
    """Share of the matching requests that it strikes."""
    seconds: float = 30.0
    """How long a `hang` holds the request, or a `drip` draws out the answer."""
    retry_after: float | None = None
    """Seconds, for the Retry-After header of an error answer."""
    code: str | None = None
    status: int | None = None
    message: str | None = None
    """Another code, HTTP status or message than the kind's own."""
    hits: int = 0
    """How often it has struck."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no fault {self.kind!r}; there are {', '.join(sorted(KINDS))}")
        self.operation = self.operation or _ONLY.get(self.kind)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Fault:
        """Build a fault from JSON; ValueError names what is not a member of one."""
        unknown = given.keys() - {each.name for each in fields(cls)} | ({"kind"} - given.keys())
        if unknown:
            raise ValueError(f"a fault needs a kind and has no {', '.join(sorted(unknown))}")
        return cls(**given)

    def matches(self, request: Request) -> bool:
        """Tell whether the request is one that it may strike."""
        exact = (
            (self.operation, request.operation),
            (self.region, request.region),
            (self.account, request.account),
        )
        wild = ((self.group, request.group), (self.stream, request.stream))
        return (
            self.times != 0
            and all(wanted in {None, found} for wanted, found in exact)
            and all(wanted is None or fnmatchcase(found, wanted) for wanted, found in wild)
        )

    def error(self, facts: Mapping[str, str]) -> ServiceError:
        """Build the answer of an error kind."""
        code, status, message = ERRORS[self.kind]
        members = {"expectedSequenceToken": _EXPECTED} if self.kind in _ONLY else {}
        error = ServiceError(
            self.code or code,
            self.message or message.format(token=_EXPECTED, **facts),
            status=self.status or status,
            **members,
        )
        if self.retry_after is not None:
            error.headers["Retry-After"] = f"{self.retry_after:g}"
        return error


class Faults:
    """The faults in force. Chance is the same in every run."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._random = random.Random(0)  # noqa: S311 - faults, not secrets

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults."""
        self._faults.clear()

    def strike(self, request: Request) -> dict[str, Fault]:
        """Give the faults that strike this request, by kind, and count them."""
        struck: dict[str, Fault] = {}
        for fault in self._faults:
            if fault.kind in struck or not fault.matches(request):
                continue
            if fault.rate < 1 and self._random.random() >= fault.rate:
                continue
            if struck.keys() & ERRORS.keys() and fault.kind in ERRORS:
                continue  # one error answer is all that a request can get; the other fault keeps its turn
            fault.hits += 1
            fault.times = None if fault.times is None else fault.times - 1
            struck[fault.kind] = fault
        request.fault = ",".join(struck)
        return struck

    def listed(self) -> list[dict[str, Any]]:
        """Give all faults as JSON."""
        return [asdict(fault) for fault in self._faults]
