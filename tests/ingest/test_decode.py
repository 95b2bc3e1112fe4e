"""Events are validated with messages that name the field, and stamped without touching the rest."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.event.model import PLATFORM_TENANT
from auditflow.ingest import decode as decoding
from auditflow.ingest.decode import Decoded, decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp

AT = "2026-01-31T12:00:00.000Z"
ID = "0190163d-8694-739b-aea5-966c26f8ad90"


def decoded(*raws: bytes | str, limits: Limits | None = None, tenant: str | None = None) -> Decoded:
    encoded = [raw.encode() if isinstance(raw, str) else raw for raw in raws]
    return decode(encoded, Stamp(AT, "corr-1", tenant), limits or Limits())


def event(**fields: object) -> str:
    return json.dumps({"eventType": "auth.login", "sourceSystem": "web"} | fields)


def stamped(**fields: object) -> dict:
    result = decoded(event(**fields))
    assert result.rejected == []
    return json.loads(result.batch.events[0])


def refused(raw: bytes | str, limits: Limits | None = None):
    result = decoded(raw, limits=limits)
    assert result.batch.events == []
    (rejection,) = result.rejected
    return rejection.error


def test_the_server_assigns_id_time_and_correlation():
    result = decoded(event())
    event_out = json.loads(result.batch.events[0])
    assert uuid.UUID(event_out["eventId"]).version == 7
    assert event_out["timestamp"] == AT
    assert event_out["correlationId"] == "corr-1"
    assert result.batch.ids == [event_out["eventId"]]
    assert list(result.batch.supplied) == []


def test_the_clients_id_is_kept_and_marked_as_supplied():
    result = decoded(event(), event(eventId=ID.upper()))
    assert result.batch.ids[1] == ID
    assert list(result.batch.supplied) == [1]
    assert json.loads(result.batch.events[1])["eventId"] == ID.upper()


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"timestamp": "1999-01-01T00:00:00Z"}, {"eventTime": "1999-01-01T00:00:00Z"}),
        ({"timestamp": "1999-01-01T00:00:00Z", "eventTime": None}, {"eventTime": "1999-01-01T00:00:00Z"}),
        ({"timestamp": "1999-01-01T00:00:00Z", "eventTime": AT}, {"eventTime": AT, "clientTimestamp": "1999-01-01T00:00:00Z"}),
        ({"timestamp": 1700000000}, {"clientTimestamp": 1700000000}),
        ({"timestamp": "yesterday"}, {"clientTimestamp": "yesterday"}),
        ({"timestamp": {"seconds": 1}}, {"clientTimestamp": {"seconds": 1}}),
        ({"timestamp": None}, {}),
    ],
)  # fmt: skip
def test_a_clients_timestamp_is_never_dropped_silently(more: dict, kept: dict):
    """In much real audit data it is the only time that there is."""
    batch = decoded(event(**more)).batch
    out = json.loads(batch.events[0])
    assert {name: out[name] for name in ("eventTime", "clientTimestamp") if out.get(name) is not None} == kept
    assert out["timestamp"] == AT
    if "eventTime" in kept and "clientTimestamp" not in kept:
        assert batch.times[0] == 915148800000


def test_a_clients_timestamp_is_replaced_and_stands_only_once():
    out = decoded('{"eventType":"a","timestamp":"1999-01-01T00:00:00Z","sourceSystem":"b"}').batch.events[0]
    assert out.count(b'"timestamp"') == 1
    assert json.loads(out)["timestamp"] == AT


def test_a_clients_correlation_id_is_kept():
    assert stamped(correlationId="mine")["correlationId"] == "mine"


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_null_or_blank_correlation_id_is_replaced(blank: str | None):
    out = decoded(event(correlationId=blank)).batch.events[0]
    assert out.count(b'"correlationId"') == 1
    assert json.loads(out)["correlationId"] == "corr-1"


@pytest.mark.parametrize("blank", [None, ""])
def test_a_null_or_empty_event_id_is_assigned(blank: str | None):
    out = decoded(event(eventId=blank)).batch.events[0]
    assert out.count(b'"eventId"') == 1
    assert uuid.UUID(json.loads(out)["eventId"])


def test_bytes_the_server_does_not_own_are_not_rewritten():
    raw = b'{"eventType":"a","sourceSystem":"b","x":1.0,"y":1e5,"z":12345678901234567890123,"u":"\\u00e9"}'
    assert decoded(raw).batch.events[0].endswith(raw[1:])
    with_timestamp = raw[:-1] + b',"timestamp":null}'
    assert (
        b'"x":1.0,"y":1e5,"z":12345678901234567890123,"u":"\\u00e9"'
        in decoded(with_timestamp).batch.events[0]
    )


def test_a_pretty_printed_event_is_put_on_one_line():
    raw = json.dumps({"eventType": "a", "sourceSystem": "b", "extra": {"text": "x y"}}, indent=2)
    out = decoded(raw).batch.events[0]
    assert b"\n" not in out
    assert json.loads(out)["extra"] == {"text": "x y"}


@pytest.mark.parametrize("tenant", [None, "", "-", " "])
def test_an_event_without_tenant_belongs_to_the_platform(tenant: str | None):
    assert decoded(event(tenantId=tenant)).batch.tenants == [PLATFORM_TENANT]


def test_a_tenant_is_kept():
    assert decoded(event(tenantId="acme-1")).batch.tenants == ["acme-1"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"eventType": ""}, "eventType"),
        ({"eventType": "x" * 256}, "eventType"),
        ({"eventType": 5}, "eventType"),
        ({"sourceSystem": None}, "sourceSystem"),
        ({"eventId": "not-a-uuid"}, "eventId"),
        ({"eventId": ID.replace("-", "")}, "eventId"),
        ({"eventId": 7}, "eventId"),
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventTime": "2026-02-30T00:00:00Z"}, "eventTime"),
        ({"eventTime": "2026-02-20T00:00:00"}, "eventTime"),
        ({"eventTime": 1767225600}, "eventTime"),
        ({"correlationId": "x" * 65}, "correlationId"),
        ({"tenantId": "-leading"}, "tenantId"),
        ({"tenantId": "x" * 65}, "tenantId"),
        ({"tenantId": "a/../b"}, "tenantId"),
        ({"geolocation": {"lat": 90.1}}, "geolocation.lat"),
        ({"geolocation": {"lon": -180.1}}, "geolocation.lon"),
        ({"geolocation": {"countryCode": "DEU"}}, "geolocation.countryCode"),
        ({"geolocation": "Berlin"}, "geolocation"),
        ({"extra": []}, "extra"),
        ({"extra": "text"}, "extra"),
        ({"extra": {f"k{i}": i for i in range(65)}}, "extra"),
    ],
)
def test_an_invalid_field_is_named(fields: dict, name: str):
    error = refused(event(**fields))
    assert error.status == 400
    assert f"'{name}'" in str(error)


@pytest.mark.parametrize("name", ["eventType", "sourceSystem"])
def test_a_missing_field_is_named(name: str):
    fields = json.loads(event())
    del fields[name]
    assert f"'{name}'" in str(refused(json.dumps(fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"eventType": "x" * 255},
        {"eventTime": "2026-01-01T00:00:00.123456789+05:30"},
        {"eventTime": "2016-12-31T23:59:60Z"},
        {"eventTime": "2026-01-01t00:00:00z"},
        {"eventTime": None},
        {"geolocation": {"lat": -90, "lon": 180, "countryCode": "DE", "city": "Köln"}},
        {"geolocation": None},
        {"extra": {f"k{i}": {"a": {"b": i}} for i in range(64)}},
        {"extra": None},
        {"anything": {"else": [1, None, True]}},
    ],
)
def test_a_valid_event_passes_with_its_fields(fields: dict):
    out = stamped(**fields)
    assert {key: out[key] for key in fields} == fields


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[1]", "object"),
        (b"5", "object"),
        (b'{"eventType":"a","sourceSystem":"b"', "JSON"),
        (b'{"eventType":"a","sourceSystem":"b"} {}', "JSON"),
        (b'{"eventType":"a","sourceSystem":"b","x":NaN}', "JSON"),
        (b'{"eventType":"a","sourceSystem":"b","x":"\xff"}', "UTF-8"),
        (b'{"eventType":"a","sourceSystem":"b","x":"\\ud800"}', "surrogate"),
        (b'{"eventType":"a","sourceSystem":"b","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    ],
)
def test_what_is_not_an_event_is_refused_with_the_reason(raw: bytes, said: str):
    assert said in str(refused(raw))


def test_an_event_over_the_size_limit_is_413():
    raw = event()
    assert refused(raw, Limits(event_bytes=len(raw) - 1)).status == 413
    assert decoded(raw, limits=Limits(event_bytes=len(raw))).rejected == []


def test_invalid_events_do_not_spoil_the_valid_ones():
    result = decoded(event(), "nonsense", event(eventId=ID), event(eventType=""))
    assert result.indexes == [0, 2]
    assert list(result.batch.supplied) == [1]
    assert [rejection.index for rejection in result.rejected] == [1, 3]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(
    st.dictionaries(st.text(min_size=1), json_values, max_size=8), st.booleans(), st.sampled_from([None, 2])
)
def test_whatever_else_an_event_holds_comes_out_as_it_went_in(
    more: dict, ascii_only: bool, indent: int | None
):
    fields = {
        k: v
        for k, v in more.items()
        if k not in stamped() and k not in {"eventTime", "tenantId", "geolocation", "extra"}
    }
    raw = json.dumps({"eventType": "a", "sourceSystem": "b"} | fields, ensure_ascii=ascii_only, indent=indent)
    result = decoded(raw)
    assert result.rejected == []
    out = result.batch.events[0]
    assert b"\n" not in out
    assert {key: value for key, value in json.loads(out).items() if key in fields} == fields


sent = st.fixed_dictionaries(
    {"eventType": st.sampled_from(["auth.login", ""]), "sourceSystem": st.just("web")},
    optional={
        "eventId": st.sampled_from([ID, ID.upper(), ID.replace("-", ""), f"{ID[:-1]}g", f" {ID[1:]}", "", None]),
        "eventTime": st.sampled_from(
            ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05+01:00", "2026-01-02T03:04:60Z",
             "2026-01-02T03:04:05+0000", "2026-02-30T00:00:00Z", "2026-01-02", None]
        ),
        "timestamp": st.sampled_from(["2020-01-01T00:00:00Z", None]),
        "correlationId": st.sampled_from(["mine", "  ", "", None, "x" * 65]),
        "tenantId": st.sampled_from(["acme", "globex", "-", "", None, "a b"]),
        "geolocation": st.sampled_from([{"lat": 1.5}, {"lat": 91}, None, "x"]),
        "extra": st.sampled_from([{"a": 1}, {f"k{i}": ":" for i in range(64)}, {f"{i}": 0 for i in range(65)}, [], None]),
        "other": st.sampled_from(["\ud7ff", "a\nb", {"a": [1.0]}]),
    },
)  # fmt: skip


publishers = st.builds(
    lambda number, tenant: Stamp(AT, f"corr-{number}", tenant),
    st.integers(1, 2),
    st.sampled_from([None, "acme"]),
)


@given(st.lists(st.tuples(sent, publishers), min_size=1, max_size=4))
def test_taking_all_at_once_is_as_good_as_taking_one_after_the_other(requests: list[tuple[dict, Stamp]]):
    raws = [json.dumps(each, separators=(",", ":")).encode() for each, _ in requests]
    stamps = [stamp for _, stamp in requests]
    quick, slow = decoding._together(raws, stamps, Limits()), decoding._one_by_one(raws, stamps, Limits())
    if quick is None:
        return
    assert slow.rejected == []
    assert (list(quick.indexes), list(quick.batch.supplied)) == (slow.indexes, slow.batch.supplied)
    assert (quick.batch.tenants, quick.batch.times) == (slow.batch.tenants, slow.batch.times)
    for place in slow.batch.supplied:
        assert quick.batch.ids[place] == slow.batch.ids[place]
        assert quick.batch.events[place] == slow.batch.events[place]
    without_ids = [
        [{k: v for k, v in json.loads(event).items() if k != "eventId"} for event in result.batch.events]
        for result in (quick, slow)
    ]
    assert without_ids[0] == without_ids[1]
    assert [json.loads(event)["eventId"].lower() for event in quick.batch.events] == quick.batch.ids


def test_usual_events_are_taken_all_at_once():
    for more in (
        {},
        {"eventId": ID},
        {"correlationId": "c"},
        {"tenantId": "acme", "eventTime": AT, "extra": {"a": 1}},
    ):
        raws = [event(**more).encode()] * 3
        assert decoding._together(raws, [Stamp(AT, "corr-1")] * 3, Limits()) is not None
        assert decoding._together(raws, [Stamp(AT, "corr-1", "acme")] * 3, Limits()) is not None


@pytest.mark.parametrize("own", [{}, {"tenantId": "acme"}, {"tenantId": "globex"}, {"tenantId": None}])
def test_who_publishes_owns_the_events_whatever_they_say(own: dict):
    for more in ([], [event(tenantId="other")]):
        result = decoded(event(**own), *more, tenant="acme")
        assert set(result.batch.tenants) == {"acme"}
        for out in result.batch.events:
            assert json.loads(out)["tenantId"] == "acme"
            assert out.count(b'"tenantId"') == 1


def test_events_happened_when_they_say_or_when_they_came():
    received = 1_769_860_800_000
    assert decoded(event(eventTime="2026-01-31T13:00:00.5+01:00"), event()).batch.times == [
        received + 500,
        received,
    ]
    assert decoded(event(eventTime="2026-01-31T12:00:00.5Z")).batch.times == [received + 500]
    assert decoded(event(), event()).batch.times == [received] * 2
