import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from auditflow.sinks.aws_cloudwatch_sink.templates import GROUP, STREAM, Places, Template, fields_of

EVENT = {
    "tenantId": "acme",
    "sourceSystem": "portal",
    "extra": {
        "items": [{"sku": "A-1"}, {"sku": 7}],
        "deep": {"ok": True, "no": False},
        "null": None,
        "empty": "",
    },
    "count": 12345678901234567890,
    "share": 0.10,
}
NAMES = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
STREAM_NAMES = re.compile(r"[^:*]{1,512}")


def render(text, event=EVENT, kind=STREAM):
    return Template(text, kind).render(
        fields_of(event if isinstance(event, bytes) else json.dumps(event).encode())
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("audit", "audit"),
        ("{{ tenantId }}", "acme"),
        ("{{tenantId}}", "acme"),
        ("a-{{ tenantId }}-{{ sourceSystem }}-z", "a-acme-portal-z"),
        ("{{ extra.items[0].sku }}", "A-1"),
        ("{{ extra.items[1].sku }}", "7"),
        ("{{ extra.deep.ok }}/{{ extra.deep.no }}", "true/false"),
        ("{{ count }}", "12345678901234567890"),
        ("{{ share }}", "0.1"),
    ],
)
def test_fields_are_written_as_the_event_writes_them(text, name):
    assert render(text) == name


@pytest.mark.parametrize(
    "path", ["absent", "extra.absent.deeper", "extra.items[9].sku", "extra.items.sku", "extra", "extra.items",
             "extra.null", "extra.empty", "tenantId.x", "tenantId[0]"],
)  # fmt: skip
def test_what_has_no_text_is_written_as_the_default(path):
    assert render(f"{{{{ {path}:-none }}}}") == "none"
    assert render(f"{{{{ {path} :- none }}}}") == "none"
    assert render(f"x-{{{{ {path} }}}}") == "x-unknown"


@pytest.mark.parametrize("event", [b"", b"[]", b"17", b"\xff", b'{"tenantId":', b'{"tenantId":"\xff"}'])
def test_what_is_no_event_has_no_fields(event):
    assert render("{{ tenantId }}", event) == "unknown"


def test_half_a_surrogate_pair_is_changed_where_it_stands_and_does_no_harm_elsewhere():
    event = rb'{"tenantId":"a\ud800b","other":"c"}'
    assert render("{{ other }}", event) == "c"
    assert re.fullmatch(r"a_b#[0-9a-f]{24}", render("{{ tenantId }}", event))


@pytest.mark.parametrize("kind", [GROUP, STREAM])
@given(values=st.lists(st.tuples(st.text(max_size=600), st.text(max_size=600)), max_size=6, unique=True))
def test_every_name_is_one_the_service_takes_and_keeps_its_prefix(kind, values):
    template = Template("/acme/{{ a }}/x-{{ b }}", kind)
    names = {}
    for a, b in values:
        name = template.render(fields_of(json.dumps({"a": a, "b": b}).encode()))
        assert (NAMES if kind is GROUP else STREAM_NAMES).fullmatch(name)
        assert name.startswith("/acme/")
        assert name.count("/") <= 3
        assert names.setdefault(name, (a or "unknown", b or "unknown")) == (a or "unknown", b or "unknown")


@pytest.mark.parametrize("value", ["../other", "a/b", "a:b", "a*", "a#b", "x" * 600, "a\nb", "日" * 513])
def test_a_changed_name_ends_in_a_digest_that_no_value_can_imitate(value):
    name = render("/t/{{ v }}", {"v": value}, STREAM)
    assert re.fullmatch(r"/t/[^/#:*]+#[0-9a-f]{24}", name)
    assert len(name) <= 512
    imitation = render("/t/{{ v }}", {"v": name.removeprefix("/t/")}, STREAM)
    assert imitation != name


def test_a_script_of_any_kind_is_kept_in_a_stream_and_changed_in_a_group():
    assert render("{{ v }}", {"v": "日本 🎉"}, STREAM) == "日本 🎉"
    assert re.fullmatch(r"/a/____#[0-9a-f]{24}", render("/a/{{ v }}", {"v": "日本 🎉"}, GROUP))


def test_names_that_differ_only_in_what_was_changed_stay_different():
    names = {render("{{ v }}", {"v": value}) for value in ("a:b", "a*b", "a/b", "a_b", "a#b")}
    assert len(names) == 5


def test_a_name_is_worked_out_once_for_the_same_values():
    template = Template("{{ v }}", STREAM)
    for _ in range(3):
        template.render(fields_of(b'{"v":"x"}'))
    assert template._name.cache_info().misses == 1
    assert template._name.cache_info().maxsize == 10_000


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("{{ tenantId }}", GROUP, "events alone"),
        ("{{ tenantId }}/audit", GROUP, "events alone"),
        ("aws/{{ tenantId }}", GROUP, "reserved"),
        ("a{{ tenantId }}/x", GROUP, "reserved"),
        ("aws{{ tenantId }}", GROUP, "reserved"),
        ("/x/{{ tenantId", GROUP, "not closed"),
        ("/x/tenantId }}", STREAM, "not closed"),
        ("{{ }}", STREAM, "not the path"),
        ("{{ a..b }}", STREAM, "not the path"),
        ("{{ a[x] }}", STREAM, "not the path"),
        ("{{ a | default('x') }}", STREAM, "not the path"),
        ("{{ a:-b:c }}", STREAM, "default"),
        ("/x/{{ a:-b/c }}", GROUP, "default"),
        ("/x y/{{ a }}", GROUP, "takes no ' '"),
        ("a:{{ a }}", STREAM, "takes no ':'"),
        ("x" * 401 + "{{ a }}", STREAM, "longer"),
        ("x" * 513, STREAM, "longer"),
        ("", STREAM, "empty"),
    ],
)  # fmt: skip
def test_what_can_never_make_a_name_is_refused_with_the_reason(text, kind, words):
    with pytest.raises(PydanticCustomError, match=re.escape(words)):
        Template(text, kind)


def test_fixed_text_needs_no_event():
    assert Template("/x", GROUP).fixed
    assert not Template("/x/{{ a }}", GROUP).fixed


@pytest.mark.parametrize(
    ("text", "event", "name"),
    [
        ("app-{{ eventTime:%Y-%m-%d }}", {"eventTime": "2026-01-31T23:59:59.5Z"}, "app-2026-01-31"),
        ("{{ eventTime:%Y-%m-%d }}", {"eventTime": "2026-01-31T23:30:00-02:00"}, "2026-02-01"),
        ("{{eventTime:%Y}}/{{ eventTime:%m }}", {"eventTime": "2026-01-31T00:00:00Z"}, "2026/01"),
        ("{{ eventTime:%Y%m%d-%H }}", {"eventTime": "2026-01-31T07:00:00Z"}, "20260131-07"),
        ("{{ eventTime:%G-W%V }}", {"eventTime": "2026-01-01T07:00:00Z"}, "2026-W01"),
        ("{{ eventTime:%Y-%m-%d }}", {"timestamp": "2026-03-01T00:00:00Z"}, "2026-03-01"),
        ("{{ extra.at:%Y-%m-%d }}", {"extra": {"at": 1772323200000}}, "2026-03-01"),
        ("{{ extra.at:%Y-%m-%d }}", {"extra": {"at": "1772323200"}}, "2026-03-01"),
        ("{{ extra.at:%Y-%m-%d :- none }}", {"timestamp": "2026-03-01T00:00:00Z"}, "none"),
        ("{{ extra.at:%Y-%m-%d }}", {"extra": {"at": "yesterday"}}, "unknown"),
        ("{{ extra.at:%Y-%m-%d }}", {"extra": {"at": "9" * 400}}, "unknown"),
        ("{{ eventTime:%Y-%m-%d:-undated }}", {"eventTime": "9999-99-99T99:99:99+99:99"}, "undated"),
    ],
)
def test_a_time_is_written_as_a_date_in_utc(text, event, name):
    assert render(text, event) == name
    encoded = json.dumps(event).encode()
    assert Places(Template("/a", GROUP), Template(text, STREAM)).of(encoded) == ("/a", name)


@pytest.mark.parametrize(
    "text", ["{{ eventTime:%S }}", "{{ eventTime:%Y/%m }}", "{{ eventTime:% }}", "{{ eventTime:%D }}"]
)
def test_what_makes_no_date_or_a_stream_a_second_is_refused(text):
    with pytest.raises(PydanticCustomError, match="that is no date"):
        Template(text, STREAM)
