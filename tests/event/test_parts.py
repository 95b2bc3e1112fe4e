import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.errors import PartsUnusable
from auditflow.event.parts import join_parts, split

ID = "0190a5b0-0000-7000-8000-000000000001"
LIMIT = 1400


def event(text, **fields):
    return json.dumps({"eventId": ID, "text": text, **fields}, ensure_ascii=False).encode()


texts = st.one_of(
    st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
    st.sampled_from(["日本語", "🎉", '"', "\\", '\\"', "\n", "\x01", "\x7f", "\\u0041", "שלום", "\ufffd"]),
)


@given(st.lists(texts, min_size=1, max_size=8), st.integers(1, 400))
def test_parts_fit_are_valid_json_and_give_back_the_exact_event(pieces, times):
    whole = event("".join(pieces) * times)
    parts = split(whole, LIMIT)
    assert max(map(len, parts)) <= LIMIT
    decoded = [json.loads(part) for part in parts]
    assert [part["part"] for part in decoded] == list(range(1, len(parts) + 1))
    assert {(part["eventId"], part["parts"], part["sha256"]) for part in decoded} == {
        (ID, len(parts), hashlib.sha256(whole).hexdigest())
    }
    assert join_parts(parts) == whole


@given(st.binary(max_size=3000))
def test_what_is_no_json_is_divided_and_joined_all_the_same(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            split(data, LIMIT)
    else:
        assert join_parts(split(data or b"x", LIMIT)) == (data or b"x")


def test_parts_are_as_few_as_their_size_allows():
    room = LIMIT - len(split(b'{"eventId":"' + ID.encode() + b'"}', LIMIT)[0])
    parts = split(event("x" * 10 * room), LIMIT)
    assert all(len(part) > LIMIT - 20 for part in parts[:-1])  # numbers of nine digits are reserved


def test_order_repeats_and_text_do_not_matter():
    whole = event("日本" * 2000)
    parts = split(whole, LIMIT)
    assert len(parts) > 3
    assert join_parts([*(part.decode() for part in reversed(parts)), parts[0]]) == whole


@pytest.mark.parametrize("escape", [r"\ud800", r"\ud83c\udf89", r"\u0000", r"\/"])
def test_escapes_come_back_as_they_were_written(escape):
    whole = b'{"eventId":"' + ID.encode() + b'","text":"' + escape.encode() * 900 + b'"}'
    parts = split(whole, LIMIT)
    assert join_parts(parts) == whole
    assert json.loads(parts[0])["eventId"] == ID


@pytest.mark.parametrize("given_id", [17, None, ["x"], "x" * 2000])
def test_an_id_that_is_no_short_text_is_left_out(given_id):
    whole = json.dumps({"eventId": given_id, "text": "x" * 3000}).encode()
    parts = split(whole, LIMIT)
    assert {json.loads(part)["eventId"] for part in parts} == {None}
    assert join_parts(parts) == whole


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda parts: parts[:-1], "is missing"),
        (lambda parts: parts[1:], "part 1 of"),
        (lambda parts: [], "0 events"),
        (lambda parts: [*parts, *split(event("another" * 500), LIMIT)], "2 events"),
        (lambda parts: [*parts, b"<html>"], "no part"),
        (lambda parts: [*parts, b"\xff"], "no part"),
        (lambda parts: [*parts, event("an event")], "no part"),
        (lambda parts: [parts[0].replace(b"abab", b"baab", 1), *parts[1:]], "SHA-256"),
    ],
)
def test_what_does_not_make_an_event_is_refused_with_the_reason(spoil, words):
    parts = split(event("ab" * 2000), LIMIT)
    with pytest.raises(PartsUnusable, match=words):
        join_parts(spoil(parts))
