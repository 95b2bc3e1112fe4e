"""What HTTP destinations have in common: waiting as asked, telling statuses and network faults apart."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from auditflow.sinks._base import DELIVERED, Outcome, Verdict

_RETRYABLE: Final = {408, 425, 429}
"""Client errors that pass by themselves: timeout, too early, too many (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""

_BLOCKED_HINTS: Final = {
    401: "Its credentials are missing or wrong: fix the headers or the secret.",
    403: "It refuses these credentials: give them the permission to post there.",
    404: "Nothing is at that path: fix the URL.",
    405: "It does not take this method: fix method or the URL.",
    407: "The proxy wants credentials: put them into HTTP_PROXY or HTTPS_PROXY.",
    410: "The address has been retired: ask its owner for the new URL.",
}
_REDIRECT_HINT: Final = (
    "Redirects are not followed, since that could send events elsewhere: set the URL to {location}"
)


def web_address(value: str) -> str:
    """Check that a property is an http or https URL with a host; ValueError says what is wrong.

    The value itself is not repeated: a path or a query may hold a token.
    """
    if not _is_web_address(value):
        raise ValueError("expected a URL such as https://example.com/path")
    return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:  # which quotes what it takes for the port or the host: often a piece of a password
        return False
    plain = not any(c.isspace() or c == "\\" for c in value)
    return plain and parts.scheme in {"http", "https"} and bool(parts.hostname)


def origin(url: str) -> str:
    """Give scheme, host and port of a URL: the part that holds no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def retry_after(value: str | None) -> float:
    """Read a Retry-After header, seconds or an HTTP date (RFC 9110 §10.2.3), as seconds; 0 when there is none."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def unknown_host(error: BaseException) -> bool:
    """Tell whether a connection failed because the host name does not exist.

    A name server that cannot be asked just now is something else: that passes by itself.
    """
    return any(
        isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN for cause in _causes(error)
    )


def untrusted(error: BaseException) -> bool:
    """Tell whether a connection failed because the other side's certificate is not trusted."""
    return any("CERTIFICATE_VERIFY_FAILED" in str(cause) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def judge_answer(place: str, status: int, headers: Mapping[str, str]) -> Outcome:
    """Turn an answer's status and headers (case-insensitive) into an outcome; `place` is named in the reason."""
    if 200 <= status < 300:  # noqa: PLR2004 - success, RFC 9110 §15.3
        return DELIVERED
    code, reason = f"HTTP_{status}", f"{place} answered {status}."
    if status in _RETRYABLE or status >= 500:  # noqa: PLR2004 - server error, RFC 9110 §15.6
        return Outcome(Verdict.RETRY, code, reason, retry_after=retry_after(headers.get("retry-after")))
    if status < 400:  # noqa: PLR2004 - redirection, RFC 9110 §15.4
        location = headers.get("location", "")
        hint = _REDIRECT_HINT.format(
            location=f"one at {origin(location)}." if "//" in location else "its target."
        )
        return Outcome(Verdict.BLOCKED, code, reason, hint)
    if status in _BLOCKED_HINTS:
        return Outcome(Verdict.BLOCKED, code, reason, _BLOCKED_HINTS[status])
    return Outcome(Verdict.REJECTED, code, reason)


def judge_failure(place: str, error: Exception) -> Outcome:
    """Turn an httpx2 exception into an outcome that says whether the request may have gone out.

    Other exceptions are retried under their own name. Messages are not repeated: they may quote headers.
    """
    import httpx2

    code = type(error).__name__
    if unknown_host(error):
        hint = "Fix the host name in the URL, or the name server that this machine asks."
        return Outcome(Verdict.BLOCKED, "UnknownHost", f"The host of {place} does not exist.", hint)
    if untrusted(error):
        hint = "Add its authority to the trusted ones (SSL_CERT_FILE), or set verify-ssl to false for a test."
        return Outcome(
            Verdict.BLOCKED, "UntrustedCertificate", f"The certificate of {place} is not trusted.", hint
        )
    before_sending = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
    if isinstance(error, before_sending):
        return Outcome(Verdict.RETRY, code, f"{place} cannot be reached.")
    sent = isinstance(error, httpx2.TransportError)
    return Outcome(Verdict.RETRY, code, f"{place} gave no complete answer ({code}).", ambiguous=sent)
