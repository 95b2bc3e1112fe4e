"""What HTTP destinations have in common: waiting as asked, telling statuses and network faults apart."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from auditflow.http_client import CallFailed
from auditflow.sinks._base import DELIVERED, Outcome, Verdict

HTTP: Final = "HTTP_"
"""What the code of an outcome begins with that is an answer's status."""
MOST_WAIT: Final = 300.0
"""Seconds that a destination may ask to wait for."""
_RETRYABLE: Final = {408, 425, 429}
"""Client errors that pass by themselves: timeout, too early, too many (RFC 9110 §15.5.9, RFC 8470, RFC 6585)."""

MAYBE_TAKEN: Final = {408, 500, 502, 504}
"""Statuses that may follow after a request was carried out: a gateway gave up waiting, a server failed on its way."""

_BLOCKED_HINTS: Final = {
    401: "Its credentials are missing or wrong: fix the headers or the secret.",
    403: "It refuses these credentials: give them the permission to post there.",
    404: "Nothing is at that path: fix the URL.",
    405: "It does not take this method: fix method or the URL.",
    407: "The proxy wants credentials: put them into HTTP_PROXY or HTTPS_PROXY.",
    410: "The address has been retired: ask its owner for the new URL.",
}
_PROXY_HINT: Final = (
    "Fix HTTP_PROXY or HTTPS_PROXY, let the proxy pass these requests, or add the host to NO_PROXY."
)
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
        possible = _is_host(parts.hostname or "")
    except ValueError:  # which quotes what it takes for the port or the host: often a piece of a password
        return False
    plain = value.isprintable() and not any(c.isspace() or c == "\\" for c in value)
    return plain and parts.scheme in {"http", "https"} and possible


def _is_host(host: str) -> bool:
    """Tell whether a name may be one of a host, or is an address. Raises ValueError for one that cannot."""
    if ":" in host:
        return bool(ip_address(host.partition("%")[0]))
    return re.fullmatch(rb"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", host.encode("idna"), re.IGNORECASE) is not None


def origin(url: str) -> str:
    """Give scheme, host and port of a URL: the part that holds no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def retry_after(value: str | None) -> float:
    """Read a Retry-After header, seconds or an HTTP date (RFC 9110 §10.2.3), as seconds up to `MOST_WAIT`; 0 when there is none."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return min(MOST_WAIT, float(value))
    try:
        return min(MOST_WAIT, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, OverflowError, TypeError):
        return 0.0


def unknown_host(error: BaseException) -> bool:
    """Tell whether a connection failed because the host name does not exist.

    A name server that cannot be asked just now is something else: that passes by itself.
    """
    return any(
        isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN for cause in _causes(error)
    )


class TlsFault(NamedTuple):
    """What keeps two sides from speaking TLS; no request was handled then."""

    code: str
    reason: str
    hint: str


_TLS_FAULTS: Final[Sequence[tuple[str, TlsFault]]] = [
    (pattern, TlsFault(*told))
    for pattern, *told in (
        ("certificate has expired", "CertificateExpired", "Its certificate has expired.",
         "Have it renewed there; if it was, set this machine's clock."),
        ("certificate is not yet valid", "CertificateNotYetValid", "Its certificate is not valid yet.",
         "Set this machine's clock, or theirs."),
        ("mismatch|doesn't match|not valid for", "CertificateName", "Its certificate is for another name.",
         "Use the name that the certificate has in the URL, or have the certificate made for this one."),
        ("CERTIFICATE_VERIFY_FAILED", "UntrustedCertificate", "Its certificate is not trusted.",
         "Add its authority to the trusted ones (SSL_CERT_FILE), or set verify-ssl to false for a test."),
        ("CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|HANDSHAKE_FAILURE", "ClientCertificate",
         "It refuses to speak with this client, and may want a certificate of its.",
         "Ask its owner which clients it takes."),
        ("UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_PROTOCOLS|DH_KEY_TOO_SMALL|NO_SHARED_CIPHER", "TlsVersion",
         "It speaks a version of TLS, or ciphers, that are too old.", "Have it speak TLS 1.2 or later."),
        ("WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE", "NoTls", "It does not speak TLS at that port.",
         "Write http:// in place of https://, or the port that speaks TLS."),
    )
]  # fmt: skip


def tls_fault(error: BaseException) -> TlsFault | None:
    """Say what kept TLS from being spoken; None when something else failed."""
    words = " ".join(str(cause) for cause in _causes(error) if isinstance(cause, ssl.SSLError))
    words = words or next((str(c) for c in _causes(error) if "[SSL" in str(c)), "")
    found = (fault for pattern, fault in _TLS_FAULTS if re.search(pattern, words, re.IGNORECASE))
    return next(found, None) if words else None


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
    code, reason = f"{HTTP}{status}", f"{place} answered {status}."
    if status in _RETRYABLE or status >= 500:  # noqa: PLR2004 - server error, RFC 9110 §15.6
        wait = retry_after(headers.get("retry-after"))
        return Outcome(Verdict.RETRY, code, reason, retry_after=wait, ambiguous=status in MAYBE_TAKEN)
    if status < 400:  # noqa: PLR2004 - redirection, RFC 9110 §15.4
        location = headers.get("location", "")
        hint = _REDIRECT_HINT.format(location=_target(location))
        return Outcome(Verdict.BLOCKED, code, reason, hint)
    if status in _BLOCKED_HINTS:
        return Outcome(Verdict.BLOCKED, code, reason, _BLOCKED_HINTS[status])
    return Outcome(Verdict.REJECTED, code, reason)


def _target(location: str) -> str:
    try:
        return f"one at {origin(location)}." if "//" in location else "its target."
    except ValueError:
        return "its target, which is no address now."


def judge_failure(place: str, error: CallFailed) -> Outcome:
    """Turn a call without an answer into an outcome that says whether the request may have gone out.

    Messages are not repeated: they may quote headers.
    """
    cause = error.__cause__ or error
    if fault := tls_fault(cause):
        return Outcome(Verdict.BLOCKED, fault.code, f"{place}: {fault.reason}", fault.hint)
    if error.proxy and not error.sent:
        return _proxy_failure(error.proxy, cause)
    if unknown_host(cause):
        hint = "Fix the host name in the URL, or the name server that this machine asks."
        return Outcome(Verdict.BLOCKED, "UnknownHost", f"The host of {place} does not exist.", hint)
    code = type(cause).__name__
    if code in {"TimeoutError", "ReadTimeout", "WriteTimeout"}:  # whichever clock was the first
        code = "Timeout"
    if not error.sent:
        return Outcome(Verdict.RETRY, code, f"{place} cannot be reached.")
    return Outcome(Verdict.RETRY, code, f"{place} gave no complete answer ({code}).", ambiguous=True)


def _proxy_failure(proxy: str, cause: BaseException) -> Outcome:
    """Say what became of a call that a proxy was to pass on, and has not."""
    code, hint = type(cause).__name__, _PROXY_HINT
    words = str(cause)
    if code == "ProxyError" and words.startswith("407"):
        return Outcome(
            Verdict.BLOCKED, "ProxyError", f"The proxy {proxy} wants credentials.", _BLOCKED_HINTS[407]
        )
    if code == "ProxyError":
        return Outcome(
            Verdict.BLOCKED, "ProxyError", f"The proxy {proxy} refuses to connect: {words[:100]}.", hint
        )
    if unknown_host(cause):
        return Outcome(Verdict.BLOCKED, "UnknownHost", f"The host of the proxy {proxy} does not exist.", hint)
    if isinstance(cause, ValueError):  # a scheme nobody speaks
        return Outcome(Verdict.BLOCKED, "ProxyError", f"The proxy's address {proxy} cannot be used.", hint)
    return Outcome(Verdict.RETRY, code, f"The proxy {proxy} cannot be reached.", hint)
