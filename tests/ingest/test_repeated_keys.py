"""An event says each thing once: two readers that take different ones of two equal keys would see two events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.event.model import FIELDS
from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.repeated_keys import repeated
from auditflow.ingest.stamp import Stamp

PLAIN = b'{"eventType":"a","sourceSystem":"b"}'
VALUES = {"geolocation": '{"lat":1}', "extra": '{"a":1}'}


def with_twice(name: str, first: str | None = None) -> bytes:
    value = VALUES.get(name, '"2026-01-31T12:00:00Z"' if "ime" in name else '"acme"')
    fields = {"eventType": '"a"', "sourceSystem": '"b"'} | {name: value}
    body = ",".join(f'"{key}":{text}' for key, text in fields.items())
    return f'{{"{first or name}":{value},{body}}}'.encode()


def reasons(*raws: bytes) -> list[str]:
    result = decode(raws, Stamp("2026-01-31T12:00:00.000Z", "c"), Limits())
    return [str(each.error) for each in result.rejected]


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_repeated_is_refused_alone_and_among_others(name: str):
    bad = with_twice(name)
    assert len(reasons(bad)) == 1
    assert f"'{name}' is repeated" in reasons(bad)[0]
    among = decode([PLAIN, bad, PLAIN], Stamp("2026-01-31T12:00:00.000Z", "c"), Limits())
    assert [each.index for each in among.rejected] == [1]
    assert len(among.batch.events) == 2


@pytest.mark.parametrize("first", ["tenant\\u0049d", "\\u0074enantId", "\\u0074\\u0065nantId"])
def test_an_escape_hides_no_name(first: str):
    assert repeated(with_twice("tenantId", first)) == "tenantId"
    assert reasons(with_twice("tenantId", first))


def test_a_blank_before_the_colon_hides_no_name():
    assert reasons(b'{"tenantId" :"x","eventType":"a","sourceSystem":"b","tenantId":"acme"}')


@pytest.mark.parametrize(
    "more",
    [
        {"extra": {"tenantId": "x", "eventType": "y", "nested": [{"tenantId": 1, "extra": {}}]}},
        {"extra": {"note": '"tenantId"'}, "tenantId": "acme"},
        {"tenantId": "acme", "note": "tenantId"},
        {"tenantId": "acme", 'a"tenantId': 1},
        {"tenantId": "acme", "tenantid": 1, "TenantId": 2},
        {"extra": {"name": "caf\u00e9 \u0041"}},
    ],
)
def test_the_same_names_elsewhere_are_no_repeats(more: dict):
    raw = json.dumps({"eventType": "a", "sourceSystem": "b"} | more).encode()
    assert repeated(raw) == ""
    assert reasons(raw, PLAIN) == []


@given(
    st.dictionaries(
        st.sampled_from(["tenantId", "extra", "note", "x"]),
        st.recursive(
            st.sampled_from(["tenantId", '"tenantId"', '\\"extra', 1]),
            lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner) | st.lists(inner),
        ),
    )
)
def test_no_event_without_a_repeat_is_taken_for_one(fields: dict):
    assert repeated(json.dumps(fields).encode()) == ""


def test_what_a_large_event_may_hide_is_told_as_such_and_not_as_a_repeat():
    large = b'{"eventType":"a","sourceSystem":"b","n\\u006fte":"' + b"x" * 100_000 + b'"}'
    (reason,) = reasons(large)
    assert "write the letters themselves" in reason
    assert "is repeated" not in reason
    assert reasons(large.replace(b"\\u006f", b"o")) == []
    assert reasons(b'{"eventType":"a","sourceSystem":"b","n\\u006fte":"small"}') == []
