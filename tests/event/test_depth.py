"""How deep an event nests is counted, whatever is in its texts."""

from __future__ import annotations

import pytest

from auditflow.event.depth import MAX_DEPTH, is_too_deep
from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.ingest.stamp import Stamp


def nested(depth: int, around: bytes = b"") -> bytes:
    lists = depth - 1
    return b'{"eventType":"a","sourceSystem":"b","x":' + b"[" * lists + around + b"]" * lists + b"}"


def test_the_deepest_event_is_taken_and_redacted_and_one_deeper_is_refused():
    redactor = compile_redaction(RedactionConfig.model_validate({"rules": [{"detector": "email"}]}))
    email = b'"a@example.org"'
    for depth, refused in ((MAX_DEPTH, 0), (MAX_DEPTH + 1, 1), (5_000, 1), (100_000, 1)):
        assert is_too_deep(nested(depth)) == bool(refused)
        for others in ([], [nested(2)]):
            result = decode([nested(depth, email), *others], Stamp("2026-01-31T12:00:00.000Z", "c"), Limits())
            assert len(result.rejected) == refused
            assert all("nested" in str(each.error) for each in result.rejected)
        (redacted,) = redactor.redact([nested(depth, email)])
        assert (b"example" in redacted) is False if not refused else "nested too deeply" in str(redacted)


@pytest.mark.parametrize(
    "wide",
    [b"[" + b"[]," * 5_000 + b"[]]", b'["' + b"[" * 5_000 + b'"]', b'["\\"' + b"{" * 5_000 + b'\\\\",[]]'],
)
def test_what_is_wide_or_a_text_is_not_deep(wide: bytes):
    assert not is_too_deep(wide)
