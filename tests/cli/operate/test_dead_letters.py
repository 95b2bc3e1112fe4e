"""Dead letters on the command line, and pausing and resuming pipelines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditflow.ledger import DeadLetter, Progress, Update

Run = Callable[..., Any]
ID = "019a0000-0000-7000-8000-000000000001"
EVENT = {"eventType": "a", "sourceSystem": "b", "eventId": ID}


@pytest.fixture
def letters(server) -> Any:
    own = {"tenant": "_platform", "event_id": ID, "first_failed": 1_000}
    some = [
        DeadLetter(
            "everything", 1, "Bad", "cannot \x1b[31mbe", json.dumps(EVENT).encode(), last_failed=2_000, **own
        ),
        DeadLetter("everything", 2, "Bad", "cannot be", b"{}", last_failed=3_000),
        DeadLetter("everything", 3, "Worse", "never", b"{}", last_failed=4_000),
    ]
    server.ledger.commit([Update("everything", Progress(1), letters=some)])
    return server


def test_letters_are_listed_by_cause_and_one_by_one(auditflow: Run, letters) -> None:
    answer = auditflow("dead-letters", "list", "--url", letters.url)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["pipeline", "code", "events", "last", "failed"],
        ["everything", "Bad", "2", "1970-01-01T00:00:03.000Z"],
        ["everything", "Worse", "1", "1970-01-01T00:00:04.000Z"],
    ]
    assert lines[5].split() == ["1", "everything", ID, "Bad", "cannot", r"\u001b[31mbe"]
    assert len(lines) == 8


def test_a_selection_is_listed_as_json(auditflow: Run, letters) -> None:
    answer = auditflow(
        "dead-letters", "list", "--url", letters.url, "--code", "Bad", "--since", "1970-01-01T00:00:03Z", "--format", "json"
    )  # fmt: skip
    assert [letter["id"] for letter in json.loads(answer.out)["letters"]] == [2]


def test_without_letters_that_is_said(auditflow: Run, server) -> None:
    for command in (["list"], ["purge", "--all"]):
        assert auditflow("dead-letters", *command, "--url", server.url).out == "no dead letters\n"


def test_purging_without_a_selection_deletes_nothing_unless_all_is_said(auditflow: Run, letters) -> None:
    answer = auditflow("dead-letters", "purge", "--yes", "--url", letters.url)
    assert (answer.code, answer.out) == (2, "")
    assert "--all" in answer.err
    assert len(letters.ledger.dead_letters()) == 3


def test_one_is_shown_whole(auditflow: Run, letters) -> None:
    answer = auditflow("dead-letters", "show", "1", "--url", letters.url)
    assert json.loads(answer.out)["event"] == EVENT
    answer = auditflow("dead-letters", "show", "77", "--url", letters.url)
    assert (answer.code, answer.err) == (1, "auditflow: There is no dead letter 77.\n")


def test_a_selection_is_replayed(auditflow: Run, letters) -> None:
    answer = auditflow("dead-letters", "replay", "--code", "Bad", "--rate", "5", "--url", letters.url)
    assert answer.out == "2 events will be delivered again; see auditflow status\n"
    assert [(one.id, one.rate) for one in letters.ledger.to_replay("everything")] == [(1, 5.0), (2, 5.0)]


def test_some_are_replayed_by_number(auditflow: Run, letters) -> None:
    auditflow("dead-letters", "replay", "3", "1", "--to", "everything", "--url", letters.url)
    assert [one.id for one in letters.ledger.to_replay("everything")] == [1, 3]


def test_one_is_replayed_with_an_edited_event(auditflow: Run, letters, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(EVENT | {"extra": {"fixed": 1}}))
    assert auditflow("dead-letters", "replay", "1", "--event", file, "--url", letters.url).code == 0
    (letter,) = letters.ledger.to_replay("everything")
    assert json.loads(letter.event)["extra"] == {"fixed": 1}


@pytest.mark.parametrize(("ids", "text"), [([], "{}"), (["1", "2"], "{}"), (["1"], "{")])
def test_an_edited_event_needs_one_letter_and_to_be_json(
    auditflow: Run, letters, tmp_path, ids, text
) -> None:
    (tmp_path / "event.json").write_text(text)
    answer = auditflow(
        "dead-letters", "replay", *ids, "--event", tmp_path / "event.json", "--url", letters.url
    )
    assert answer.code == 2
    assert "--event" in answer.err


def test_a_refusal_of_the_server_is_told_in_its_words(auditflow: Run, letters) -> None:
    answer = auditflow("dead-letters", "replay", "--to", "nobody", "--url", letters.url)
    assert answer.code == 1
    assert answer.err == "auditflow: No pipeline named 'nobody' runs; those that do: everything.\n"


def test_purging_asks_first(auditflow: Run, letters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    answer = auditflow("dead-letters", "purge", "--code", "Bad", "--url", letters.url)
    assert answer.code == 1
    assert "Delete 2 events for good?" in answer.err
    assert len(letters.ledger.dead_letters()) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "2 events deleted" in auditflow("dead-letters", "purge", "--code", "Bad", "--url", letters.url).out
    assert "1 event deleted" in auditflow("dead-letters", "purge", "--all", "--yes", "--url", letters.url).out
    assert letters.ledger.dead_letters() == []


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        (("--pipeline", ""), 1),
        (("--tenant", ""), 1),
        (("--code", ""), 1),
        (("--since", ""), 2),
        (("--until", ""), 2),
        (("--until", "1970-01-01"), 0),
        (("--until", "1960-01-01"), 0),
    ],
)
def test_an_empty_choice_never_means_every_letter(auditflow: Run, letters, choice, code) -> None:
    for command in (("purge", "--yes"), ("replay",)):
        answer = auditflow("dead-letters", *command, *choice, "--url", letters.url)
        assert answer.code == code, answer.err
    assert [letter.target for letter in letters.ledger.dead_letters()] == ["", "", ""]


@pytest.mark.parametrize("rate", ["inf", "nan", "-1", "1e7"])
def test_a_rate_that_is_none_is_a_wrong_command_line(auditflow: Run, letters, rate) -> None:
    answer = auditflow("dead-letters", "replay", "--rate", rate, "--url", letters.url)
    assert answer.code == 2
    assert "--rate" in answer.err


def test_nothing_printed_steers_the_terminal(auditflow: Run, server) -> None:
    evil = "\x9b31m\x1b[31m\x7f"
    letter = DeadLetter("everything", 1, "Bad", evil, json.dumps({"x": evil}, ensure_ascii=False).encode())
    server.ledger.commit([Update("everything", Progress(1), letters=[letter])])
    for command in (["show", "1"], ["list"], ["list", "--format", "json"]):
        out = auditflow("dead-letters", *command, "--url", server.url).out
        assert not set(out) & set("\x1b\x7f\x9b")
    assert json.loads(auditflow("dead-letters", "show", "1", "--url", server.url).out)["reason"] == evil


def test_a_pipeline_is_paused_and_resumed(auditflow: Run, server) -> None:
    answer = auditflow("pause", "everything", "--url", server.url)
    assert answer.out == "everything is paused; resume it with: auditflow resume everything\n"
    assert server.ledger.accounts()[0].paused
    assert "paused" in auditflow("status", "--url", server.url).out
    assert auditflow("resume", "everything", "--url", server.url).out == "everything goes on\n"
    assert not server.ledger.accounts()[0].paused
    assert auditflow("pause", "a/b", "--url", server.url).code == 1


def test_a_server_that_is_not_there_is_told_with_what_to_do(auditflow: Run) -> None:
    for command in (
        ["dead-letters", "list"],
        ["dead-letters", "purge", "--all"],
        ["pause", "p"],
        ["where", ID],
    ):
        answer = auditflow(*command, "--url", "http://127.0.0.1:1")
        assert answer.code == 1
        assert "auditflow serve" in answer.err
