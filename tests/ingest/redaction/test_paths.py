"""Paths lead to places in an event, and say what is wrong with them."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from auditflow.event.paths import parse_pattern
from auditflow.ingest.redaction.paths import leaves, path_text, places

EVENT = {
    "extra": {
        "email": "e",
        "Email": "E",
        "home": {"email": "h"},
        "work": {"email": "w", "tel": None},
        "list": [{"email": "l0"}, {"email": "l1"}, "text", [["deep"]]],
    },
    "items": [{"card": 1}, {"card": 2}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("extra.email", ["extra.email"]),
        ("extra.*.email", ["extra.home.email", "extra.work.email"]),
        ("extra.list[*].email", ["extra.list[0].email", "extra.list[1].email"]),
        ("items[1].card", ["items[1].card"]),
        ("extra.list[3][0][*]", ["extra.list[3][0][0]"]),
        ("extra.work.*", ["extra.work.email", "extra.work.tel"]),
        ("extra.absent.email", []),
        ("extra.email.below", []),
        ("extra.EMAIL", []),
        ("extra[0]", []),
        ("items[2]", []),
        ("items.card", []),
        ("items.*", []),
        ("extra.*[*].email", ["extra.list[0].email", "extra.list[1].email"]),
    ],
)
def test_a_path_leads_to_the_places_it_names(path: str, found: list[str]):
    assert [path_text(place[2]) for place in places(EVENT, parse_pattern(path))] == found


def test_leaves_are_everything_that_holds_nothing_else():
    (root,) = places(EVENT, parse_pattern("extra.list"))
    assert sorted(path_text(path) for _, _, path in leaves(root)) == [
        "extra.list[0].email",
        "extra.list[1].email",
        "extra.list[2]",
        "extra.list[3][0][0]",
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "not the path of a field at ''"),
        ("extra..email", "not the path of a field at ''"),
        ("[0].card", "not the path of a field at '[0]'"),
        ("items[].card", "at 'items[]'"),
        ("items[-1]", "at 'items[-1]'"),
        ("items[0]x", "at 'items[0]x'"),
        ("extra.e*", "at 'e*'"),
        ("*.email", "a path begins with the name of a field"),
        (".".join("a" * 65), "at most 64 are followed"),
    ],
)
def test_what_is_no_path_is_refused_with_the_piece(path: str, said: str):
    with pytest.raises(PydanticCustomError, match=said.replace("[", r"\[").replace("*", r"\*")):
        parse_pattern(path)
