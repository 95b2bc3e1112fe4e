"""Posts events to a URL, one request each, signed with HMAC-SHA256 when there is a secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from auditflow.http_client import CallFailed, HttpClient
from auditflow.settings import misfit
from auditflow.sinks._base import DELIVERED, BatchLimits, Outcome, Properties, Sink, Verdict
from auditflow.sinks._http import HTTP, judge_answer, judge_failure, origin, web_address
from auditflow.units import Duration

RETRY_PAUSE: Final = 0.2
"""Seconds before the first further attempt within a delivery; doubled for each one after."""

TRIALS: Final = 8
"""Events that are tried before a destination that takes none of them is given up for this delivery."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of RFC 9110 §5.6.2."""
_OWN_HEADERS: Final = {"content-length", "transfer-encoding", "host", "connection"}


def _secret_address(url: SecretStr) -> SecretStr:
    web_address(url.get_secret_value())
    return url


def _read_headers(given: object) -> object:
    """Read headers that come as JSON text, as in the original's configuration."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given or "{}")
    except ValueError:
        raise ValueError('expected a mapping, or JSON such as {"Authorization": "Bearer …"}') from None


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("expected a header name: letters, digits and - _ .")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"{name} is set by the connection itself")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("expected printable ASCII without spaces at the ends")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]


class WebhookProperties(Properties):
    """Where events go, and what a request looks like."""

    webhook_url: Annotated[SecretStr, AfterValidator(_secret_address)]
    """URL to send each event to; kept secret, since many hold a token."""
    method: Annotated[Literal["POST", "GET"], BeforeValidator(lambda method: str(method).upper())] = "POST"
    """HTTP method; the event is the body in both."""
    content_type: str = "application/json"
    """Content-Type header."""
    headers: Annotated[dict[HeaderName, HeaderValue], BeforeValidator(_read_headers)] = Field(
        default_factory=dict
    )
    """Further headers: a mapping, or the same as JSON text."""
    secret: SecretStr | None = None
    """Key of the signature: HMAC-SHA256 of the body."""
    signature_header: HeaderName = "X-Hub-Signature-256"
    """Header of the signature, which reads sha256=<hexadecimal digits>."""
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """How long a request may take, from waiting for a connection to its answer."""
    verify_ssl: bool = True
    """Check the server's certificate."""
    retry_count: Annotated[int, Field(ge=0, le=10)] = 0
    """Further attempts at a request within one delivery, before the pipeline waits and tries again by itself."""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests at the same time."""

    @field_validator("headers")
    @classmethod
    def _one_spelling(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        repeated = [name for name, count in Counter(map(str.lower, headers)).items() if count > 1]
        if repeated:
            raise misfit(f"{repeated[0]} stands twice, in different spellings", "keep one of the two")
        return headers

    @model_validator(mode="after")
    def _one_authorization(self) -> WebhookProperties:
        given = {name.lower() for name in self.headers}
        if "authorization" in given and urlsplit(self.webhook_url.get_secret_value()).username is not None:
            raise misfit(
                "the URL holds a user, and headers an Authorization: only one of them can be sent",
                "keep one of the two",
            )
        return self


class WebhookSink(Sink[WebhookProperties]):
    """One request per event over kept-alive connections."""

    Properties: ClassVar[type[WebhookProperties]] = WebhookProperties

    def __init__(self, properties: WebhookProperties) -> None:
        super().__init__(properties)
        self._client: Any = None
        self._headers: dict[str, str] = {}
        self._turn = 0
        self._url = properties.webhook_url.get_secret_value()
        self._delivered = Outcome(Verdict.DELIVERED, where={"destination": self.destination})

    @property
    def destination(self) -> str:
        """Name scheme, host and port; the rest of the URL may hold a token."""
        return f"webhook:{origin(self._url)}"

    @property
    def limits(self) -> BatchLimits:
        """Ask for few events at a time, since each is a request of its own."""
        return BatchLimits(events=100)

    async def open(self) -> None:
        """Make the HTTP client. Connects to nothing yet."""
        ours = self.properties
        self._client = HttpClient(
            ours.timeout,
            connections=ours.max_in_flight,
            verify=ours.verify_ssl,
            addresses=self.egress.addresses if self.egress else None,
        )
        given = {name: value.get_secret_value() for name, value in ours.headers.items()}
        own = {} if "content-type" in map(str.lower, given) else {"Content-Type": ours.content_type}
        self._headers = own | given

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Send each event. Where nobody is there, or no event gets through, the trials speak for those not sent yet."""
        waiting = deque(range(len(events)))
        waiting.rotate(-self._turn)  # so that others are tried first than the last time
        outcomes = [DELIVERED] * len(events)
        trials = _Trials()

        async def send_waiting() -> None:
            while waiting:
                position = waiting.popleft()
                outcomes[position] = outcome = await self._send(events[position])
                if trials.hopeless_with(outcome):
                    for unsent in waiting:
                        outcomes[unsent] = replace(outcome, ambiguous=False)
                    waiting.clear()

        await asyncio.gather(*(send_waiting() for _ in range(self.properties.max_in_flight)))
        self._turn = (self._turn + trials.failures) % len(events) if trials.hopeless else 0
        return [_of_some(outcome) for outcome in outcomes] if trials.successes else outcomes

    async def _send(self, event: bytes) -> Outcome:
        outcome = await self._request(event)
        for attempt in range(self.properties.retry_count):
            if outcome.verdict is not Verdict.RETRY or outcome.ambiguous or outcome.retry_after:
                break
            await asyncio.sleep(RETRY_PAUSE * 2**attempt)
            outcome = await self._request(event)
        return outcome

    async def _request(self, event: bytes) -> Outcome:
        ours = self.properties
        headers = dict(self._headers)
        if ours.secret is not None:
            signature = hmac.new(ours.secret.get_secret_value().encode(), event, hashlib.sha256)
            headers[ours.signature_header] = f"sha256={signature.hexdigest()}"
        try:
            answer = await self._client.request(ours.method, self._url, headers, event)
        except CallFailed as error:
            return judge_failure(origin(self._url), error)
        outcome = judge_answer(origin(self._url), answer.status, answer.headers)
        return self._delivered if outcome is DELIVERED else outcome


class _Trials:
    """What the events of one delivery have met so far."""

    def __init__(self) -> None:
        self.successes = self.failures = 0
        self.hopeless = False

    def hopeless_with(self, outcome: Outcome) -> bool:
        """Take an outcome in; tell whether others would fare the same.

        That is so where nobody was reached, or the destination asks to wait. What it answers otherwise may be about
        that event alone, until none of several gets through.
        """
        if outcome.verdict not in {Verdict.RETRY, Verdict.BLOCKED}:
            self.successes += 1
            return False
        self.failures += 1
        answered = outcome.ambiguous or outcome.code.startswith(HTTP)
        alone = answered and not outcome.retry_after
        self.hopeless = not alone or (not self.successes and self.failures >= TRIALS)
        return self.hopeless


def _of_some(outcome: Outcome) -> Outcome:
    """Let what only some events meet block nothing."""
    return replace(outcome, verdict=Verdict.RETRY) if outcome.verdict is Verdict.BLOCKED else outcome
