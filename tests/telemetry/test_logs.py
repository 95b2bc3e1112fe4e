import json
import re
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
from auditflow.telemetry import logs

logs.configure({level!r}, {style!r}, "ingest")
logging.getLogger("auditflow.x").debug("fine print")
logging.getLogger("auditflow.x").info("%s events", 3)
logging.getLogger("uvicorn.error").info("chatter")
logging.getLogger("botocore.credentials").warning("a traceback of every renewal")
try:
    raise ZeroDivisionError("no answer from https://me:hunter2@example.com/x")
except ZeroDivisionError:
    logging.getLogger("auditflow.x").exception("it failed")
"""


def lines(level: str, style: str) -> list[str]:
    script = SCRIPT.format(level=level, style=style)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == ""
    return answer.stderr.splitlines()


def test_text_lines_say_when_how_grave_and_which_process():
    first, second, *trace = lines("info", "text")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    ingest    3 events", first)
    assert second.endswith("ERROR   ingest    it failed")
    assert trace[-1] == "    ZeroDivisionError: no answer from https://***@example.com/x"


def test_json_lines_are_one_object_each_with_the_exception_inside():
    first, second = map(json.loads, lines("info", "json"))
    assert first.pop("time") > 1.7e9
    assert first == {"level": "info", "role": "ingest", "logger": "auditflow.x", "message": "3 events"}
    assert "https://***@example.com/x" in second["exception"]
    assert "hunter2" not in second["exception"].splitlines()[-1]


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_the_level_decides_what_is_logged_and_libraries_stay_quiet(level, count):
    found = [json.loads(line) for line in lines(level, "json")]
    ours = [line for line in found if line["logger"] == "auditflow.x"]
    assert len(ours) == count
    assert not [line for line in found if line["logger"] == "botocore.credentials"]
    assert ours == found


ASKED = """
import logging
from auditflow.telemetry import logs

logs.configure_command()
logging.getLogger("auditflow.aws").debug("PutLogEvents")
logging.getLogger("botocore.endpoint").debug("a body with secrets")
"""


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("AWS_SDK_LOGGING", "debug", True),
        ("BOTO_LOG_LEVEL", "DEBUG", True),
        ("AUDITFLOW_LOG_LEVEL", "debug", True),
        ("AUDITFLOW_LOG_LEVEL", "info", False),
        ("BOTO_LOG_LEVEL", "", False),
        ("SOMETHING_ELSE", "debug", False),
    ],
)
def test_a_command_logs_requests_to_aws_when_the_environment_asks_for_it(variable, value, shown):
    answer = subprocess.run(
        [sys.executable, "-c", ASKED], env={variable: value}, capture_output=True, text=True, check=True
    )
    assert ("PutLogEvents" in answer.stderr) == shown
    assert "secrets" not in answer.stderr


@pytest.mark.parametrize("variable", ["AWS_SDK_LOGGING", "BOTO_LOG_LEVEL"])
def test_serve_logs_requests_to_aws_at_any_level_when_asked(variable):
    script = ASKED.replace("configure_command()", "configure('info', 'json', 'delivery')")
    answer = subprocess.run(
        [sys.executable, "-c", script], env={variable: "debug"}, capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["message"] for line in answer.stderr.splitlines()] == ["PutLogEvents"]


FORGED = "x\n2026-01-01T00:00:00.000Z INFO    ingest    all is well\r\x1b[2J\x9b\u2028\u202e\ud800"


@pytest.mark.parametrize("style", ["text", "json"])
def test_nothing_from_outside_makes_a_second_record_or_steers_the_terminal(style):
    script = f"""
import logging
from auditflow.telemetry import logs

logs.configure("info", {style!r}, "ingest")
logging.getLogger("auditflow.x").error("%s failed", {FORGED!r})
try:
    raise ValueError({FORGED!r})
except ValueError:
    logging.getLogger("auditflow.x").exception("it failed")
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    text = answer.stderr.decode()
    records = [line for line in text.split("\n") if line and not line.startswith("    ")]
    assert len(records) == 2
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "\\u001b[2J" in text
