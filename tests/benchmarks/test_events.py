import json

import events
import pytest


def test_events_have_ids_of_their_own_and_the_tenant_of_their_number():
    made = [json.loads(event) for event in events.fresh(30, lambda n: n % 3, start=6)]
    assert len({event["eventId"] for event in made}) == 30
    assert [event["tenantId"] for event in made[:4]] == [
        "tenant-000",
        "tenant-001",
        "tenant-002",
        "tenant-000",
    ]


@pytest.mark.parametrize("size", [200, 20_000, 1_000_000])
def test_sized_events_have_the_size_that_is_asked_for(size):
    for event in events.sized(3, size):
        assert len(event) == pytest.approx(size, rel=0.05, abs=10)
        assert json.loads(event)["eventType"]


def test_a_request_is_whole():
    (request,) = events.requests(
        events.batches([b'{"a":1}', b'{"a":2}'], 2), "/p", events.NDJSON, b"X-Key: k\r\n"
    )
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b'{"a":1}\n{"a":2}'
    assert b"Content-Length: %d" % len(body) in head
    assert b"X-Key: k" in head.split(b"\r\n")
