"""The publish call as OpenAPI describes it; schemas come from the types that the server decodes with."""

from __future__ import annotations

from typing import Any

import msgspec

from auditflow.event import MAX_EXTRA_KEYS, TENANT_PATTERN, Header


def _event_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    _, parts = msgspec.json.schema_components([Header], ref_template="#/components/schemas/{name}")
    schema = parts.pop("Header")
    properties = schema["properties"]
    properties["eventId"] = {
        "type": ["string", "null"],
        "format": "uuid",
        "description": "Assigned when absent.",
    }
    properties["eventTime"] = {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When it happened.",
    }
    properties["timestamp"] = {"type": "string", "format": "date-time", "readOnly": True}
    properties["tenantId"] = {"type": ["string", "null"], "pattern": TENANT_PATTERN}
    properties["extra"] = {"type": ["object", "null"], "maxProperties": MAX_EXTRA_KEYS}
    schema["additionalProperties"] = True
    schema.pop("description", None)
    return schema | {"title": "AuditEvent"}, parts


def _answer(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


_EVENT, _PARTS = _event_schema()
_ONE = {"$ref": "#/components/schemas/AuditEvent"}
_STRING = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}

SCHEMAS: dict[str, Any] = _PARTS | {
    "AuditEvent": _EVENT,
    "Published": {
        "type": "object",
        "required": ["eventId", "timestamp", "duplicate"],
        "properties": {
            "eventId": _STRING | {"format": "uuid"},
            "timestamp": _TIME,
            "duplicate": {"type": "boolean"},
        },
    },
    "PublishedBatch": {
        "type": "object",
        "required": ["accepted", "duplicates", "rejected"],
        "properties": {
            "accepted": _COUNT,
            "duplicates": _COUNT,
            "rejected": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "code", "message"],
                    "properties": {"index": _COUNT, "code": _STRING, "message": _STRING},
                },
            },
        },
    },
    "Problem": {
        "type": "object",
        "required": ["code", "message", "timestamp", "traceId"],
        "properties": {"code": _STRING, "message": _STRING, "timestamp": _TIME, "traceId": _STRING},
    },
}

_PUBLISHED = {
    "description": "Durable: the events survive a crash. One event gives Published, several PublishedBatch.",
    "headers": {
        name: {"schema": _STRING} for name in ("X-Audit-Event-Id", "X-Audit-Received-At", "X-Correlation-ID")
    },
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    {"$ref": "#/components/schemas/Published"},
                    {"$ref": "#/components/schemas/PublishedBatch"},
                ]
            }
        }
    },
}

REFUSED: dict[str, Any] = {
    "401": _answer("No credential, or one that is not accepted. See WWW-Authenticate.", "Problem"),
    "403": _answer("The credential lacks the scope.", "Problem"),
}
"""What every call but the probes may be answered, where `auth` is configured."""

OPERATION: dict[str, Any] = {
    "tags": ["publish"],
    "summary": "Publish one event, an array, or one a line (NDJSON); gzip is accepted",
    "parameters": [
        {
            "name": "X-Correlation-ID",
            "in": "header",
            "required": False,
            "schema": _STRING | {"maxLength": 64},
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "schema": {"enum": ["gzip", "identity"]},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}
            },
            "application/x-ndjson": {"schema": _STRING},
        },
    },
    "responses": {
        "200": _PUBLISHED,
        "400": _answer("Invalid: the message names the field and what is wrong with it.", "Problem"),
        "405": _answer("Not POST.", "Problem"),
        "409": _answer("The eventId is known with other content.", "Problem"),
        "413": _answer("Too large, or too many events.", "Problem"),
        "415": _answer("Not JSON, NDJSON, UTF-8 or gzip.", "Problem"),
        "500": _answer("A fault of the server; nothing was accepted.", "Problem"),
        "503": _answer(
            "The journal cannot take events now; nothing was accepted. See Retry-After.", "Problem"
        ),
    },
}
