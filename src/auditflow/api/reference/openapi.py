"""What FastAPI does not know of our calls, for the OpenAPI documents of both servers: errors, and who may call."""
# Tested in tests/api/reference/test_publish_operation.py.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from auditflow.api.guard import OPEN

CREDENTIALS: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token."},
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}

_TEXT: Final = {"type": "string"}
PROBLEM: Final = {
    "type": "object",
    "required": ["code", "message", "timestamp", "traceId"],
    "properties": {
        "code": _TEXT,
        "message": _TEXT,
        "timestamp": {"type": "string", "format": "date-time"},
        "traceId": _TEXT,
        "hint": _TEXT | {"description": "The command or setting that fixes it."},
    },
}

REFUSED: Final = {
    "401": "No credential, or one that is not accepted. See WWW-Authenticate.",
    "403": "The credential lacks the scope.",
}
"""What every call but the probes may be answered, where `auth` is configured."""

ERRORS: Final = {
    "400": "Invalid: the message names the field and what is wrong with it.",
    "404": "There is no such thing.",
    "409": "It cannot be done as things are.",
    "413": "The body is too large.",
    "415": "The body is encoded in another way than gzip.",
    "500": "A fault of the server.",
    "503": "Not now: the message says why.",
}


def answers(described: Mapping[str, str]) -> dict[str, Any]:
    """Describe error answers: status → what it means."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in described.items()}


def complete(
    app: FastAPI,
    errors: Mapping[str, str] = ERRORS,
    more_paths: Mapping[str, Any] | None = None,
    schemas: Mapping[str, Any] | None = None,
) -> None:
    """Add to the app's document: errors and credentials for every call but the probes, and what it does not serve itself."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        parts = document.setdefault("components", {})
        known = parts.setdefault("schemas", {})
        known |= {"Problem": PROBLEM} | dict(schemas or {})
        parts["securitySchemes"] = CREDENTIALS
        for path, operations in document["paths"].items():
            for operation in operations.values() if path not in OPEN else ():
                operation["responses"].pop("422", None)  # FastAPI's own, which is never sent
                operation["responses"] |= answers(errors)
        document["paths"] |= dict(more_paths or {})
        for path, operations in document["paths"].items():
            for operation in operations.values() if path not in OPEN else ():
                operation["security"] = [{}, *({name: []} for name in CREDENTIALS)]
                operation["responses"] = answers(REFUSED) | operation["responses"]
        for unused in ("HTTPValidationError", "ValidationError"):
            known.pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI documents this as the way to extend it
