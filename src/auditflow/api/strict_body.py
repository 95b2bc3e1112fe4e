"""In front of what FastAPI serves: a body is bounded and inflated as a publish call's is, and it is strict JSON.

FastAPI reads bodies of any size, and Python's JSON takes NaN and unpaired surrogates, which no destination does.
"""
# Tested in tests/api/operate/test_pipelines.py.

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request

from auditflow.api import problems
from auditflow.errors import InvalidRequest, TooMuchArriving
from auditflow.ingest.body import Arriving, ClientGone, Receive, read
from auditflow.ingest.limits import Limits
from auditflow.ingest.publish import Send
from auditflow.ingest.validate import has_lone_surrogate

MOST_VALUES: Final = 500_000
"""JSON values in one body: so many are read in some tens of milliseconds."""


class StrictBody:
    """ASGI app that hands on the requests whose body is sound, and answers the others."""

    def __init__(self, app: FastAPI, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._arriving = Arriving(Limits().arriving_bytes)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            body = await read(receive, dict(scope["headers"]), self._limit, self._arriving)
            if body:
                _check(body)
        except ClientGone:
            return
        except InvalidRequest as error:
            answer = problems.problem(Request(scope), error.status, error.code, str(error))
            await answer(scope, receive, send)
            return
        except TooMuchArriving as error:
            await problems.problem(Request(scope), 503, error.code, str(error))(scope, receive, send)
            return
        whole: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body}]

        async def again() -> MutableMapping[str, Any]:
            return whole.pop() if whole else await receive()

        await self._app(scope, again, send)


def _check(body: bytes) -> None:
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > MOST_VALUES:  # before there is an object for each
        raise InvalidRequest(status=413, reason=f"The body holds more than {MOST_VALUES} values")
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        if has_lone_surrogate(body):
            reason = "it holds an unpaired surrogate escape such as \\ud800"
        raise InvalidRequest(reason=f"The body is not valid JSON: {reason}") from None
