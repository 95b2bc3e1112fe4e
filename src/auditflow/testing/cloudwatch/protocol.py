"""How answers and errors look on the wire: JSON 1.1 for Logs, the query protocol's XML for STS and IAM."""
# Tested in tests/testing/cloudwatch/test_wire.py.

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from xml.sax.saxutils import escape

JSON: Final = "application/x-amz-json-1.1"
XML: Final = "text/xml"

QUERY_CODES: Final = {
    "AccessDeniedException": ("AccessDenied", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "IncompleteSignatureException": ("IncompleteSignature", 400),
    "InternalFailure": ("InternalFailure", 500),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "ServiceUnavailableException": ("ServiceUnavailable", 503),
    "ThrottlingException": ("Throttling", 400),
    "UnknownOperationException": ("InvalidAction", 400),
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
}
"""What Logs calls an error → what STS and IAM call the same error, and their HTTP status."""

_NAMESPACES = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
}


class ServiceError(Exception):
    """An error answer of the service: its code, its message and what else its JSON holds."""

    def __init__(self, code: str, message: str, *, status: int = 400, **members: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members
        self.headers: dict[str, str] = {}


@dataclass(slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    """Seconds over which the body is to be sent."""
    cut: bool = False
    """Whether the connection closes in the middle of the body."""


def invalid(message: str) -> ServiceError:
    """Build the error that Logs gives for nearly every fault of the caller."""
    return ServiceError("InvalidParameterException", message)


def success(service: str, operation: str, result: Mapping[str, Any]) -> Answer:
    """Encode what an operation gave."""
    request_id = str(uuid.uuid4())
    if service == "logs":
        # Escaped to ASCII, so that a lone surrogate leaves the way it came.
        return Answer(200, json.dumps(result).encode(), JSON, {"x-amzn-RequestId": request_id})
    inner = f"<{operation}Result>{_xml(result)}</{operation}Result>{_metadata(request_id)}"
    body = f'<{operation}Response xmlns="{_NAMESPACES[service]}">{inner}</{operation}Response>'
    return Answer(200, body.encode(), XML, {"x-amzn-RequestId": request_id})


def failure(service: str, error: ServiceError) -> Answer:
    """Encode an error as the service's clients parse it."""
    request_id = str(uuid.uuid4())
    shown = {"x-amzn-RequestId": request_id, **error.headers}
    if service not in _NAMESPACES:
        body = json.dumps({"__type": error.code, "message": error.message, **error.members})
        return Answer(error.status, body.encode(), JSON, shown)
    code, status = QUERY_CODES.get(error.code, (error.code, error.status))
    side = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004 - where HTTP's server errors begin
    inner = _xml({"Error": {"Type": side, "Code": code, "Message": error.message}, "RequestId": request_id})
    text = f'<ErrorResponse xmlns="{_NAMESPACES[service]}">{inner}</ErrorResponse>'
    return Answer(status, text.encode(), XML, shown)


def _metadata(request_id: str) -> str:
    return f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"


def _xml(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
    if isinstance(value, bool):
        return str(value).lower()
    return escape(str(value))
