"""Error answers of everything but publishing, in the same shape: code, message, timestamp, traceId."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from auditflow.errors import AuditFlowError, did_you_mean
from auditflow.ingest.publish import correlation
from auditflow.ingest.stamp import now_rfc3339

_log = logging.getLogger(__name__)

_CODES: Final = {
    404: "NOT_FOUND",
    403: "FORBIDDEN",
    401: "UNAUTHORIZED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}

_PARAMETER: Final = re.compile(r"\{[^/}]+\}")
_NO_OBJECT: Final = "The body must be a JSON object, sent with Content-Type: application/json"


def problem(
    request: Request, status: int, code: str, message: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Build an error answer; `more` adds members such as `hint`."""
    trace_id = correlation(request.headers.get("x-correlation-id", "").encode("latin-1"))
    body = {"code": code, "message": message, "timestamp": now_rfc3339(), "traceId": trace_id, **more}
    return JSONResponse(body, status, {"X-Correlation-ID": trace_id, **(headers or {})})


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a parameter that the call does not have: left out silently, it would select other than was meant.

    Raises HTTPException.
    """
    operation = (
        request.app.openapi()["paths"].get(request.scope["route"].path_format, {}).get(request.method.lower())
    )
    if operation is None:  # it is in no document: a page, and HEAD
        return
    known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            meant = did_you_mean(name, known)
            raise HTTPException(
                400, f"{name[:100]}: there is no such parameter" + (f"; {meant}" if meant else "")
            )


def install(app: FastAPI) -> None:
    """Make every error of the app answer in that shape, without a trace of the code."""

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "VALIDATION_ERROR")
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_methods(app, request)))
        return problem(request, error.status_code, code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    def of_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        message = _NO_OBJECT if first["type"] == "json_invalid" or not where else f"{where}: {first['msg']}"
        return problem(request, 400, "VALIDATION_ERROR", message)

    @app.exception_handler(AuditFlowError)
    def of_ours(request: Request, error: AuditFlowError) -> JSONResponse:
        status = getattr(error, "status", 503)
        return problem(request, status, error.code, str(error), hint=error.hint)

    @app.exception_handler(Exception)
    def of_fault(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(request, 500, "INTERNAL_ERROR", "Something went wrong")


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Give all methods of a path (RFC 9110 §15.5.6): those documented; a page has no more than GET. GET brings HEAD."""
    documented = app.openapi()["paths"]
    asked = request.scope["path"]
    same = [asked] if asked in documented else [path for path in documented if _fits(path, asked)]
    found = {method.upper() for path in same for method in documented[path]}
    return found | {"HEAD"} if "GET" in found else found or {"GET", "HEAD"}


def _fits(path: str, asked: str) -> bool:
    """Tell whether a documented path, with its parameters filled in, is the one that was asked for."""
    return re.fullmatch(_PARAMETER.sub("[^/]+", path), asked) is not None
