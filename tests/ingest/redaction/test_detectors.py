"""Detectors find what they are named for, leave its lookalikes, and take linear time."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from auditflow.ingest.redaction.detectors import DETECTORS

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbWFyYSJ9.c2lnbmF0dXJl"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKE7"


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Keep its pauses, which come when memory grows, out of what is measured."""
    gc.disable()
    yield
    gc.enable()


def found(detector: str, text: str) -> list[str]:
    return [text[start:end] for start, end in DETECTORS[detector].find(text)]


@pytest.mark.parametrize(
    ("detector", "text", "expected"),
    [
        ("email", "mail amara.okafor+x@mail.example.org, now", ["amara.okafor+x@mail.example.org"]),
        ("email", "chloé@société.fr and <a@b.cc>", ["chloé@société.fr", "a@b.cc"]),
        ("email", "/unsubscribe?u=ben%40example.com", ["ben%40example.com"]),
        ("card", "4111111111111111", ["4111111111111111"]),
        ("card", "pay 4111-1111-1111-1111.", ["4111-1111-1111-1111"]),
        ("card", "2026 4111 1111 1111 1111 12", ["4111 1111 1111 1111"]),
        ("card", "3782 822463 10005", ["3782 822463 10005"]),
        ("card", "card_6011000990139424", ["6011000990139424"]),
        ("card", "卡号4222222222222号", ["4222222222222"]),
        ("iban", "to DE89370400440532013000", ["DE89370400440532013000"]),
        ("iban", "GB82 WEST 1234 5698 7654 32 WAS PAID", ["GB82 WEST 1234 5698 7654 32"]),
        ("jwt", f"Bearer {JWT}", [JWT]),
        ("aws-key", "id AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("aws-key", f"secret={AWS_SECRET}", [AWS_SECRET]),
        ("ip", "from 203.0.113.7:443, then.", ["203.0.113.7"]),
        ("ip", "[2001:db8::1]:443 ::1. fe80::1%eth0", ["2001:db8::1", "::1", "fe80::1"]),
        ("ip", "client:2001:DB8:0:0:8:800:200C:417A", ["2001:DB8:0:0:8:800:200C:417A"]),
        ("ip", "::ffff:192.0.2.128", ["::ffff:192.0.2.128"]),
    ],
)
def test_it_is_found_in_whatever_surrounds_it(detector: str, text: str, expected: list[str]):
    assert found(detector, text) == expected


@pytest.mark.parametrize(
    ("detector", "text"),
    [
        ("email", "a@b, @handle, user@host, a@.cc"),
        ("card", "4111111111111112"),
        ("card", "1732503600000"),
        ("card", "41111111111111111111"),
        ("card", "f4111111111111111"),
        ("card", "411111111111"),
        ("iban", "DE88370400440532013000"),
        ("iban", "XDE89370400440532013000"),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9"),
        ("aws-key", "XAKIAIOSFODNN7EXAMPLE, AKIAIOSFODNN7EXAMPL"),
        ("aws-key", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("ip", "version 1.2.3, 1.2.3.4.5, 256.1.1.1, 03:09:36, std::decay, 00:1B:44:11:3A:B7, ::"),
    ],
)
def test_lookalikes_are_left(detector: str, text: str):
    assert found(detector, text) == []


SAMPLES = {
    "email": ["a@b.cc", "é%40b.cc"],
    "card": ["4111111111111111", "4111-1111-1111-1111", "3782 822463 10005"],
    "iban": ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32"],
    "jwt": [JWT],
    "aws-key": ["AKIAIOSFODNN7EXAMPLE", AWS_SECRET],
    "ip": ["203.0.113.7", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4"],
}
SURROUNDINGS = st.text(st.sampled_from('48 -.:@AE/\\"\n\x7fé'), max_size=3)


@pytest.mark.parametrize("detector", DETECTORS)
@given(data=st.data(), before=SURROUNDINGS, after=SURROUNDINGS, ascii_only=st.booleans())
def test_what_is_found_leaves_a_trace_in_the_bytes_of_an_event(
    detector: str, data: st.DataObject, before: str, after: str, ascii_only: bool
):
    text = before + data.draw(st.sampled_from(SAMPLES[detector])) + after
    if found(detector, text):
        written = json.dumps({"text": text}, ensure_ascii=ascii_only).replace("/", "\\/").encode()
        assert any(re2.search(trace, written) for trace in DETECTORS[detector].traces)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(
    "piece",
    ["a", "4", "4111 ", "411-", "A", "DE89 ", "eyJ", "eyJ.", "AKIA", "a/", "1.", "a:", "::", ".", "a@", "a@b.", "a@b.cc", "%40"],
)  # fmt: skip
@pytest.mark.alone
@pytest.mark.usefixtures("no_garbage_collection")
def test_time_is_linear_in_the_text(detector: str, piece: str):
    def seconds(times: int) -> float:
        started = time.process_time()
        list(DETECTORS[detector].find(piece * times))
        return time.process_time() - started

    short, long = min(seconds(5_000) for _ in range(3)), seconds(50_000)
    assert long < 30 * short + 0.05
