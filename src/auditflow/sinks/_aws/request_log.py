"""One log line per request to AWS, for debugging. Holds no secret and no event.

botocore's own debug log would show bodies, credentials and signatures, so it stays off.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final
from urllib.parse import urlsplit

CALLS: Final = logging.getLogger("auditflow.aws")

_NAMES: Final = ("logGroupName", "logStreamName", "RoleArn")
"""Parameters that say what a request is about."""


def log_calls(session: Any) -> None:
    """Log every request of all clients that the botocore session will make, when the level asks for it."""
    if CALLS.isEnabledFor(logging.DEBUG):
        session.register("provide-client-params", _note_names)
        session.register("before-call", _note_start)
        # needs-retry comes after every attempt, also one without an answer, but not after one it cannot parse
        session.register("needs-retry", _log_end)
        session.register("after-call-error", _log_unreadable)


def _note_names(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context["auditflow-names"] = [str(params[name]) for name in _NAMES if name in params]


def _note_start(model: Any, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context["auditflow-start"] = time.monotonic()
    context["auditflow-unlogged"] = (model.name, params)


def _log_end(operation: Any, response: Any, caught_exception: Any, request_dict: Any, **_: object) -> None:
    request_dict.get("context", {}).pop("auditflow-unlogged", None)
    answer = type(caught_exception).__name__ if response is None else _answer(*response)
    _log(operation.name, request_dict, answer)


def _log_unreadable(exception: Exception, context: dict[str, Any], **_: object) -> None:
    if "auditflow-unlogged" in context:
        operation, request_dict = context.pop("auditflow-unlogged")
        _log(operation, request_dict, type(exception).__name__)


def _log(operation: str, request_dict: dict[str, Any], answer: str) -> None:
    context, body = request_dict.get("context", {}), request_dict.get("body")
    about = [operation, *context.get("auditflow-names", ())]
    host = urlsplit(request_dict.get("url", "")).netloc.rpartition("@")[2]
    took = 1000 * (time.monotonic() - context.get("auditflow-start", time.monotonic()))
    sent = (
        f", {len(body):,} bytes sent" if isinstance(body, bytes) else ""
    )  # else it is no body yet, but fields
    CALLS.debug("%s at %s: %s after %.0f ms%s", " ".join(about), host, answer, took, sent)


def _answer(http: Any, parsed: dict[str, Any]) -> str:
    code = parsed.get("Error", {}).get("Code", "")
    request = parsed.get("ResponseMetadata", {}).get("RequestId", "")
    return " ".join(filter(None, (str(http.status_code), code, request and f"(request {request})")))
