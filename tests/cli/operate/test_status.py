import io
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from rich.console import Console

from auditflow.cli.operate import status as command
from auditflow.cli.operate.status import readable_age, render
from auditflow.errors import ServerUnreachable

Run = Callable[..., Any]

ERROR = {
    "code": "AccessDeniedException",
    "message": "The role may not put log events to /aws/auditflow/production",
    "hint": "Allow it logs:PutLogEvents on arn:aws:logs:eu-central-1:123456789012:log-group:/aws/x:*",
}


def row(name: str, state: str = "active", **change: Any) -> dict[str, Any]:
    counts = {"accepted": 12345678, "delivered": 1234567, "filtered": 1234567, "deadLettered": 1200}
    return {
        "name": name,
        "state": state,
        **counts,
        "pending": 10,
        "oldestPendingAgeSeconds": 7300,
        "lastError": ERROR,
        "warning": None,
    } | change


def of(*rows: dict[str, Any], incidents: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"pipelines": list(rows), "journal": {"incidents": list(incidents)}}


def drawn(status: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(render(status))
    return console.file.getvalue().splitlines()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[httpx2.Response]:
    """Give what the server answers, in turn."""
    answers: list[httpx2.Response] = []

    def request(_: str, url: str, **options: object) -> httpx2.Response:
        answer = answers.pop(0)
        answer.request = httpx2.Request("GET", url)
        return answer

    monkeypatch.setattr(httpx2, "request", request)
    return answers


def test_every_pipeline_is_a_line_with_counts_that_balance(auditflow: Run, server) -> None:
    for number in range(3):
        event = {"eventType": "a", "sourceSystem": "b", "extra": {"n": number}}
        assert httpx2.post(f"{server.url}/audit/publish", json=event).status_code == 200
    answer = auditflow("status", "--url", server.url)
    assert answer.code == 0
    header, line = answer.out.splitlines()
    assert header.split() == [
        "pipeline",
        "state",
        "accepted",
        "delivered",
        "filtered",
        "dead",
        "pending",
        "oldest",
    ]
    name_state_and_counts, age = line.split()[:7], line.split()[7]
    assert name_state_and_counts == ["everything", "active", "3", "0", "0", "0", "3"]
    assert int(age) >= 0


def test_it_comes_as_json_too(auditflow: Run, server) -> None:
    answer = auditflow("status", "--url", f"{server.url}/", "--format", "json")
    assert json.loads(answer.out)["pipelines"][0]["name"] == "everything"


def test_a_server_that_is_not_there_is_told_with_what_to_do(auditflow: Run) -> None:
    answer = auditflow("status", "--url", "http://127.0.0.1:1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("auditflow: AuditFlow cannot be reached at http://127.0.0.1:1: ")
    assert "auditflow serve" in answer.err


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx2.Response(404), "it answers HTTP 404."),
        (httpx2.Response(200, text="<html>"), "something else answers there"),
        (httpx2.Response(200, json={"hello": 1}), "something else answers there"),
        (httpx2.Response(200, json=[1]), "something else answers there"),
    ],
)
def test_something_else_at_that_address_is_recognised(auditflow: Run, answers, answer, reason) -> None:
    answers.append(answer)
    told = auditflow("status")
    assert told.code == 1
    assert reason in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("state", ["active", "retrying", "blocked", "paused"])
def test_each_state_is_shown_and_only_a_problem_with_its_error_and_hint(state: str) -> None:
    text = "\n".join(drawn(of(row("logins", state)), 200))
    assert f" {state} " in text
    assert ("AccessDeniedException" in text) == (state != "active")
    assert (f"  hint: {ERROR['hint']}" in text) == (state != "active")


def test_nothing_is_cut_off_in_a_terminal_of_80_columns() -> None:
    name = "a-pipeline-with-a-very-long-name"
    lines = drawn(of(row("logins", "retrying"), row(name, "blocked"), incidents=("3 events were lost.",)))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert name in "".join(line[:12].strip() for line in lines)
    for cell in ("retrying", "12,345,678", "1,200", "2 h", "journal: 3 events were lost."):
        assert cell in text
    assert ERROR["hint"].split()[-1] in text.replace("\n", "").replace(" ", "")


def test_a_pipe_gets_every_line_whole(auditflow: Run, answers) -> None:
    answers.append(httpx2.Response(200, json=of(row("a" * 100, "blocked"))))
    lines = auditflow("status").out.splitlines()
    assert any(line.startswith("a" * 100 + "  blocked") for line in lines)
    assert f"  hint: {ERROR['hint']}" in lines


def test_watching_goes_on_while_the_server_is_away_and_ends_when_interrupted(
    auditflow: Run, answers, monkeypatch
) -> None:
    seen: list[str] = []
    readings: list[Any] = [of(row("before")), ServerUnreachable(url="u", reason="refused"), of(row("after"))]

    def fetch(url: str) -> dict[str, Any]:
        if not readings:
            raise KeyboardInterrupt
        reading = readings.pop(0)
        seen.append(str(reading))
        if isinstance(reading, Exception):
            raise reading
        return reading

    monkeypatch.setattr(command, "fetch", fetch)
    answer = auditflow("status", "--watch", "--interval", "0.1")
    assert answer.code == 0
    assert len(seen) == 3
    assert "after" in answer.out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (7300, "2 h"), (90_000, "1 d")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert readable_age(seconds) == text
