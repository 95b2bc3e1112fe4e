"""The publish call as OpenAPI describes it; schemas come from the types that the server decodes with."""

from __future__ import annotations

from typing import Any

import msgspec

from auditflow.api.reference.openapi import answers
from auditflow.event.model import MAX_EXTRA_KEYS, TENANT_PATTERN, Header


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

OPERATION: dict[str, Any] = {
    "tags": ["publish"],
    "summary": "Publish one event, an array, or one a line (NDJSON); gzip is accepted",
    "parameters": [
        {
            "name": "X-Correlation-ID",
            "in": "header",
            "required": False,
            "description": "Taken over where it is 1 to 64 letters, digits, - and _; else one is made.",
            "schema": _STRING,
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
        **answers(
            {
                "400": "Invalid: the message names the field and what is wrong with it.",
                "403": "The tenant is not provisioned, or disabled; or the credential lacks the scope.",
                "405": "Not POST.",
                "409": "The eventId is known with other content.",
                "413": "Too large, or too many events.",
                "415": "Not JSON, NDJSON, UTF-8 or gzip.",
                "422": "It cannot be redacted as configured; nothing was accepted.",
                "429": "The tenant is over its quota. See Retry-After.",
                "500": "A fault of the server; nothing was accepted.",
                "503": "The journal cannot take events now; nothing was accepted. See Retry-After.",
            }
        ),
    },
}
