import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

EVENT = json.dumps({"eventType": "auth.login", "sourceSystem": "web"})


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_and_standard_input_are_published_together(
    auditflow: Run, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("lines.ndjson").write_text(f"{EVENT}\n\n{EVENT}\n")
    Path("array.json").write_text(f"[\n{EVENT},\n{EVENT}]")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(EVENT.encode())))
    answer = auditflow("publish", "lines.ndjson", "array.json", "-", "--url", server.url, "--batch", "2")
    assert (answer.code, answer.out) == (0, "5 accepted, 0 duplicates, 0 rejected\n")
    assert server.journal.head() == 6


def test_standard_input_is_read_when_no_file_is_given(auditflow: Run, server, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(EVENT.encode())))
    assert auditflow("publish", "--url", server.url).out.startswith("1 accepted")


def test_publishing_events_with_ids_again_stores_nothing_twice(auditflow: Run, server) -> None:
    known = json.loads(EVENT) | {"eventId": "6f1c2f9e-8a37-4a4e-9d0c-5a0f8d1c2b3a"}
    Path("events.ndjson").write_text(json.dumps(known))
    auditflow("publish", "events.ndjson", "--url", server.url)
    answer = auditflow("publish", "events.ndjson", "--url", server.url)
    assert (answer.code, answer.out) == (0, "0 accepted, 1 duplicates, 0 rejected\n")


def test_a_bad_line_is_named_with_its_place_and_the_good_ones_are_stored(auditflow: Run, server) -> None:
    Path("events.ndjson").write_text(f'{EVENT}\n{{"eventType": ""}}\nnot json\n{EVENT}\n')
    answer = auditflow("publish", "events.ndjson", "--url", server.url)
    assert (answer.code, answer.out) == (1, "2 accepted, 0 duplicates, 2 rejected\n")
    second, third = answer.err.splitlines()
    assert second.startswith("events.ndjson:2: ")
    assert "eventType" in second
    assert third.startswith("events.ndjson:3: ")


def test_what_was_accepted_before_a_problem_is_told(auditflow: Run, server) -> None:
    Path("good.ndjson").write_text(EVENT)
    answer = auditflow("publish", "good.ndjson", "nowhere.ndjson", "--url", server.url)
    assert (answer.code, answer.out) == (1, "1 accepted, 0 duplicates, 0 rejected\n")
    assert "nowhere.ndjson cannot be read: No such file" in answer.err


def test_a_server_that_is_not_there_is_told_with_what_to_do(auditflow: Run) -> None:
    Path("good.ndjson").write_text(EVENT)
    answer = auditflow("publish", "good.ndjson", "--url", "http://127.0.0.1:1", "--patience", "0")
    assert answer.code == 1
    assert "http://127.0.0.1:1/audit/publish does not take the events" in answer.err
    assert "hint: Is `auditflow serve` running" in answer.err
