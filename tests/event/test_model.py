"""Two events are the same when the client said the same; JSON goes out compact and whole."""

from __future__ import annotations

import copy
import json
from math import inf

import msgspec
import pytest
from pydantic import ValidationError

from auditflow.config.model import TenantConfig
from auditflow.event.content import same_content
from auditflow.event.model import Header, WideNumber, decode, encode
from auditflow.ingest.auth.principal import is_tenant
from auditflow.ingest.decode import decode as accepted
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp, now_rfc3339

EVENT = {
    "timestamp": "1",
    "correlationId": "c",
    "eventType": "a",
    "sourceSystem": "b",
    "extra": {"n": 1, "m": 2},
}


def raw(**changes: object) -> bytes:
    return json.dumps(EVENT | changes).encode()


def test_what_the_server_stamps_does_not_count():
    assert same_content(raw(), raw(timestamp="2", correlationId="d"))


def test_key_order_and_white_space_do_not_count():
    assert same_content(raw(), json.dumps(dict(reversed(EVENT.items())), indent=2).encode())


@pytest.mark.parametrize("changes", [{"eventType": "z"}, {"extra": {"n": 1}}, {"more": None}])
def test_anything_else_does(changes: dict[str, object]):
    assert not same_content(raw(), raw(**changes))


def test_events_are_written_compact_on_one_line():
    assert encode({"a": [1, {"b": "é\n"}]}) == '{"a":[1,{"b":"é\\n"}]}'.encode()


@pytest.mark.parametrize("event", [{"n": 2**70}, {"s": "\ud800"}])
def test_what_the_fast_encoder_refuses_is_written_all_the_same(event: dict[str, object]):
    written = encode(event)
    assert json.loads(written) == event
    assert b" " not in written


WIDE = b'{"large":1e400,"small":[-1.5E+999],"digits":%s,"n":1.5}' % (b"1" * 5000)


def test_numbers_that_no_float_holds_are_written_as_they_came():
    event = decode(WIDE)
    assert encode(event) == WIDE
    assert encode(copy.deepcopy(event)) == WIDE
    assert encode(event | {"big": 2**70}) == WIDE[:-1] + b',"big":%d}' % 2**70


def test_numbers_that_no_float_holds_are_infinity_to_who_reckons_with_them():
    event = decode(WIDE)
    assert (event["large"], event["small"][0], event["digits"]) == (inf, -inf, inf)
    assert isinstance(event["large"], WideNumber)
    assert json.dumps(event["large"]) == "Infinity"
    assert f"{event['large']}" == "1e400"


def test_an_event_with_such_a_number_is_the_same_again():
    assert same_content(WIDE, WIDE)
    assert not same_content(WIDE, WIDE.replace(b"1e400", b"-1e400"))


@pytest.mark.parametrize("text", [b"", b"{", b'{"a":1e400,}', b"\xff", b"[" * 10_000])
def test_what_is_not_json_is_not_read(text: bytes):
    with pytest.raises((ValueError, RecursionError)):
        decode(text)


def test_what_json_cannot_hold_is_a_type_error():
    with pytest.raises(TypeError):
        encode({"x": object()})


def test_an_absent_field_is_told_from_a_null_one():
    header = msgspec.json.decode(b'{"eventType":"a","sourceSystem":"b","eventId":null}', type=Header)
    assert header.event_id is None
    assert header.tenant_id is msgspec.UNSET


def test_numbers_out_of_range_can_be_compared():
    assert same_content(b'{"a":1e400,"timestamp":"x"}', b'{"timestamp":"y", "a": 1e400}')
    assert not same_content(b'{"a":1e400}', b'{"a":1e300}')


@pytest.mark.parametrize(
    "tenant", ["..", ".", "../acme", "/etc", "a/b", "a\\b", "a/../b", ".hidden", "a\x00", "a\n"]
)
def test_a_tenant_is_never_a_path(tenant: str):
    """Its id is a folder in the folder of secrets."""
    assert not is_tenant(tenant)
    with pytest.raises(ValidationError):
        TenantConfig.model_validate({"tenantId": tenant})
    decoded = accepted(
        [json.dumps(EVENT | {"tenantId": tenant}).encode()], Stamp(now_rfc3339(), "c"), Limits()
    )
    assert "tenantId" in str(decoded.rejected[0].error)
