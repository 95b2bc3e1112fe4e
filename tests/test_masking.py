"""A secret that was hidden is in no text afterwards, however it is written there."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from auditflow import masking
from auditflow.masking import KEPT, SHORTEST, hide, hide_within, masked
from auditflow.settings import Settings

SECRET = "pa/ss+wörd \"'<&=\\9\n"
ENCODINGS = {
    "as it is": str,
    "stripped": str.strip,
    "repr": lambda text: repr(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "json": lambda text: json.dumps(text)[1:-1],
    "url": lambda text: quote(text, safe=""),
    "query": quote_plus,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64url": lambda text: base64.urlsafe_b64encode(text.strip().encode()).decode(),
    "hex": lambda text: text.encode().hex(),
}


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch):
    monkeypatch.setattr(masking, "_hidden", type(masking._hidden)())
    monkeypatch.setattr(masking, "_index", {})


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_it_is_masked_in_every_encoding(encoding: str):
    hide([SECRET])
    assert masked(f"before {ENCODINGS[encoding](SECRET)} after").startswith("before ***")


@given(
    st.text(min_size=SHORTEST).filter(lambda text: len(text.strip()) >= SHORTEST),
    st.sampled_from(sorted(ENCODINGS)),
)
def test_no_secret_is_left_whatever_it_is(secret: str, encoding: str):
    masking._hidden.clear()
    masking._index.clear()
    try:
        written = ENCODINGS[encoding](secret)
    except UnicodeEncodeError:  # half a surrogate pair has no bytes
        return
    hide([secret])
    assert masked(f"<{written}>") != f"<{written}>"


def test_what_is_secret_by_itself_is_masked_alone():
    hide(
        [
            "Bearer tok-0123456789",
            "https://me:pass-word@example.com/T0/abcdefghijklmnopqrstuvwxyz?key=q-0123456789",
        ]
    )
    for part in ("tok-0123456789", "pass-word", "abcdefghijklmnopqrstuvwxyz", "q-0123456789"):
        assert masked(f"saw {part}.") == "saw ***."
    assert masked("at https://example.com/T0") == "at https://example.com/T0"


def test_ordinary_words_stay():
    hide(["test", "", "   ", "a b"])
    assert masked("/aws/auditflow/test: a b") == "/aws/auditflow/test: a b"


def test_secrets_are_found_in_settings_at_any_depth():
    class Inner(Settings):
        token: SecretStr
        name: str = "nothing secret"

    class Outer(Settings):
        inners: tuple[Inner, ...]
        headers: dict[str, SecretStr]

    hide_within(
        Outer.model_validate({"inners": [{"token": "inner-secret"}], "headers": {"a": "header-secret"}})
    )
    assert masked("inner-secret, header-secret, nothing secret") == "***, ***, nothing secret"


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(masking, "KEPT", 10)
    hide(f"secret-{number}" for number in range(25))
    assert len(masking._hidden) == 10 < KEPT
    assert masked("secret-24") == "***"
    assert masked("secret-14, secret-15") == "secret-14, ***"
    hide(f"another-{number}" for number in range(10))
    assert not [start for start in masking._index if start.startswith("secret-")]


def test_how_many_secrets_are_known_makes_no_difference_to_what_a_text_costs():
    def cost() -> int:
        looked_up = 0

        class Counting(dict):
            def get(self, key, default=None):
                nonlocal looked_up
                looked_up += 1
                return super().get(key, default)

        before, masking._index = masking._index, Counting(masking._index)
        assert masked("nothing to hide in this text") == "nothing to hide in this text"
        masking._index = before
        return looked_up

    hide(["secret-one"])
    one = cost()
    hide(f"{number:08}-secret" for number in range(1_000))
    assert cost() == one


def test_the_host_that_a_url_names_is_no_secret():
    hide(
        [
            "http://receiver.example:9000",
            "http://receiver.example:9000/",
            "http://me:pass-word@receiver.example",
        ]
    )
    assert (
        masked("http://receiver.example:9000 cannot be reached")
        == "http://receiver.example:9000 cannot be reached"
    )
    assert masked("http://me:pass-word@receiver.example") == "***"
