"""A publish body is read within its limits and cut into raw events."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable

import pytest

from auditflow.errors import InvalidRequest, TooMuchArriving
from auditflow.ingest.body import JSON, NDJSON, Arriving, ClientGone, media_type, read, split


def receiving(*chunks: bytes):
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    feed = iter(messages)

    async def receive():
        return next(feed)

    return receive


async def read_all(
    chunks: Iterable[bytes], headers: dict[bytes, bytes] | None = None, limit: int = 100
) -> bytes:
    return await read(receiving(*chunks), headers or {}, limit, Arriving(10**9))


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("application/json", JSON),
        ("Application/JSON; charset=UTF-8", JSON),
        ('application/json; charset="utf-8"', JSON),
        ("application/x-ndjson", NDJSON),
    ],
)
def test_json_and_ndjson_are_understood(header: str, kind: str):
    assert media_type(header) == kind


@pytest.mark.parametrize("header", ["", "text/plain", "application/xml", "application/json; charset=latin-1"])
def test_any_other_content_type_is_answered_415(header: str):
    with pytest.raises(InvalidRequest) as caught:
        media_type(header)
    assert caught.value.status == 415


async def test_chunks_are_joined():
    assert await read_all([b'{"a"', b":1}"]) == b'{"a":1}'


async def test_a_byte_order_mark_is_dropped():
    assert await read_all([b"\xef\xbb\xbf{}"]) == b"{}"


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413():
    assert len(await read_all([b"x" * 60, b"x" * 40])) == 100
    with pytest.raises(InvalidRequest) as caught:
        await read_all([b"x" * 60, b"x" * 41])
    assert caught.value.status == 413


async def test_a_declared_length_over_the_limit_is_refused_before_reading():
    async def never():
        raise AssertionError("the body was read")

    with pytest.raises(InvalidRequest) as caught:
        await read(never, {b"content-length": b"101"}, 100, Arriving(10**9))
    assert caught.value.status == 413


async def test_gzip_is_inflated_also_in_several_members():
    body = gzip.compress(b'{"a":') + gzip.compress(b"1}")
    assert await read_all([body], {b"content-encoding": b"gzip"}) == b'{"a":1}'


async def test_a_gzip_bomb_is_refused_without_inflating_it_whole():
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(InvalidRequest) as caught:
        await read_all([bomb], {b"content-encoding": b"gzip"}, limit=1_000_000)
    assert caught.value.status == 413


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"cut short" * 10)[:-9]], ids=["other", "cut"])
async def test_broken_gzip_is_400(body: bytes):
    with pytest.raises(InvalidRequest) as caught:
        await read_all([body], {b"content-encoding": b"gzip"})
    assert caught.value.status == 400
    assert "gzip" in str(caught.value)


async def test_an_unknown_content_encoding_is_415():
    with pytest.raises(InvalidRequest) as caught:
        await read_all([b"{}"], {b"content-encoding": b"br"})
    assert caught.value.status == 415


async def test_a_client_that_leaves_is_told_apart_from_a_bad_request():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await read(receive, {}, 100, Arriving(10**9))


def test_one_object_is_a_single_event():
    assert split(b' {"a":1} \n', JSON, 10) == ([b'{"a":1}'], True)


def test_an_array_is_several_events_with_their_bytes_untouched():
    assert split(b'[{"a": 1.0}, {"b":"\xc3\xa9"}]', JSON, 10) == ([b'{"a": 1.0}', b'{"b":"\xc3\xa9"}'], False)


def test_ndjson_is_one_event_a_line_and_blank_lines_do_not_count():
    assert split(b'{"a":1}\r\n\n{"b":2}\n', NDJSON, 10) == ([b'{"a":1}', b'{"b":2}'], False)


@pytest.mark.parametrize(("body", "kind"), [(b"", JSON), (b"[]", JSON), (b"  ", JSON), (b"\n\n", NDJSON)])
def test_a_request_without_events_is_400(body: bytes, kind: str):
    with pytest.raises(InvalidRequest) as caught:
        split(body, kind, 10)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"[1,", b"[" * 100_000, b'[{"a":1}] trailing'])
def test_a_malformed_array_is_400(body: bytes):
    with pytest.raises(InvalidRequest) as caught:
        split(body, JSON, 10)
    assert caught.value.status == 400


def test_more_events_than_allowed_are_413():
    assert len(split(b"{}\n" * 10, NDJSON, 10)[0]) == 10
    with pytest.raises(InvalidRequest) as caught:
        split(b"{}\n" * 11, NDJSON, 10)
    assert caught.value.status == 413


async def test_bodies_that_have_not_arrived_whole_are_bounded_together_and_make_room_when_they_end():
    arriving = Arriving(250)
    going_on = asyncio.Event()

    def slow(last: bytes | None):
        parts = iter([b"x" * 100, last])

        async def receive():
            part = next(parts)
            if part != b"x" * 100:
                await going_on.wait()
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": part == b"x" * 100}

        return receive

    waiting = [asyncio.create_task(read(slow(last), {}, 1000, arriving)) for last in (b"end", None)]
    await asyncio.sleep(0)
    with pytest.raises(TooMuchArriving):
        await read(slow(b"end"), {}, 1000, arriving)

    async def at_once():
        return {"type": "http.request", "body": b"y" * 500, "more_body": False}

    assert await read(at_once, {}, 1000, arriving) == b"y" * 500, "one that is whole takes no room"
    going_on.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[0] == b"x" * 100 + b"end"
    assert isinstance(results[1], ClientGone)
    assert await read(slow(b"end"), {}, 1000, arriving)
    arriving.add(250)


@pytest.mark.parametrize(
    "kind", ["application/jsonl", "application/x-jsonlines; charset=utf-8", "application/NDJSON", "application/json-lines"]
)  # fmt: skip
def test_lines_of_json_have_many_names(kind):
    assert media_type(kind) == NDJSON


def test_lines_sent_as_one_document_are_answered_with_what_they_are():
    with pytest.raises(InvalidRequest, match="send it as Content-Type: application/x-ndjson"):
        split(b'{"a":1}\n{"a":2}\n', JSON, 10)
    assert split(b'{\n  "a": {\n    "b": 1\n  }\n}\n', JSON, 10) == (
        [b'{\n  "a": {\n    "b": 1\n  }\n}'],
        True,
    )


async def test_zeros_behind_a_gzip_member_mean_nothing():
    body = gzip.compress(b"{}") + bytes(64)
    assert await read_all([body], {b"content-encoding": b"gzip"}) == b"{}"
    assert await read_all([gzip.compress(b"{}")], {b"content-encoding": b"x-gzip"}) == b"{}"
