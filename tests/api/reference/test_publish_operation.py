"""What the OpenAPI document says of an event is what the server takes."""

import json
from itertools import islice
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from auditflow.api.reference.publish_operation import SCHEMAS
from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp
from auditflow.testing.sample_events import sample_events

EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
SCHEMA = {"$ref": "#/components/schemas/AuditEvent", "components": {"schemas": SCHEMAS}}


def taken(event: dict[str, Any]) -> bool:
    raw = json.dumps(event).encode()
    return not decode([raw], Stamp("2026-01-31T12:00:00Z", "x"), Limits()).rejected


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"eventType": ""}, False),
        ({"eventType": "x" * 255}, True),
        ({"eventType": "x" * 256}, False),
        ({"eventType": None}, False),
        ({"sourceSystem": 5}, False),
        ({"eventId": None}, True),
        ({"eventId": 7}, False),
        ({"correlationId": "x" * 65}, False),
        ({"tenantId": "acme.eu-1"}, True),
        ({"tenantId": "-acme"}, False),
        ({"tenantId": "x" * 65}, False),
        ({"geolocation": {"lat": 90, "lon": -180, "countryCode": "DE", "city": None}}, True),
        ({"geolocation": {"lat": 91}}, False),
        ({"geolocation": {"countryCode": "DEU"}}, False),
        ({"geolocation": None}, True),
        ({"extra": {str(n): n for n in range(64)}}, True),
        ({"extra": {str(n): n for n in range(65)}}, False),
        ({"extra": []}, False),
        ({"somethingElse": [1]}, True),
    ],
)
def test_the_schema_agrees_with_the_server(change, valid):
    event = EVENT | change
    assert OAS31Validator(SCHEMA).is_valid(event) is valid
    assert taken(event) is valid


def test_both_names_are_required_by_both():
    for name in EVENT:
        event = {key: value for key, value in EVENT.items() if key != name}
        assert not OAS31Validator(SCHEMA).is_valid(event)
        assert not taken(event)


def test_sample_events_are_valid():
    for event in islice(sample_events(), 20):
        assert OAS31Validator(SCHEMA).is_valid(event)
