"""Log lines: one per fact, as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from typing import Any, Final, Literal

from auditflow.masking import masked
from auditflow.telemetry.line_writer import LineHandler

Style = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")
AWS_DEBUG: Final = ("AWS_SDK_LOGGING", "BOTO_LOG_LEVEL")
"""Environment variables that, set to ``debug``, ask for a line per request to AWS whatever the level."""


def configure(level: str, style: Style, role: str) -> None:
    """Send all logging to standard error. `role` names the process on every line."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(_Json(role) if style == "json" else _Text(role))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if aws_calls_wanted():
        logging.getLogger("auditflow.aws").setLevel(logging.DEBUG)
    # botocore logs a traceback for every credential it cannot renew; the outcome says it in a sentence
    logging.getLogger("botocore.credentials").setLevel(max(logging.getLogger().level, logging.ERROR))
    for noisy in ("uvicorn", "httpx2", "httpcore2", "urllib3", "botocore", "boto3", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.getLogger().level, logging.WARNING))


def aws_calls_wanted() -> bool:
    """Tell whether the environment asks for a line per request to AWS."""
    return any(os.environ.get(name, "").lower() == "debug" for name in AWS_DEBUG)


def configure_command() -> None:
    """Let a command that runs once log what the environment asks for; `serve` has options of its own."""
    if aws_calls_wanted() or os.environ.get("AUDITFLOW_LOG_LEVEL", "").lower() == "debug":
        configure("debug", "text", "auditflow")


_steering = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]").sub
"""Of what comes from outside: control characters, other line ends, what turns the direction of writing."""


class _Formatter(logging.Formatter):
    """Other people's exceptions quote URLs."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in the standard library
        from auditflow.plugin_call import without_user_info

        return without_user_info(super().formatException(ei))


class _Text(_Formatter):
    """One line for each record; further lines, such as a hint, are indented, so that none can pass for a record."""

    converter = staticmethod(time.gmtime)

    def __init__(self, role: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03dZ %(levelname)-7s {role:<9} %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        text = masked(super().format(record)).replace("\n", "\n    ")
        return _steering(lambda found: f"\\u{ord(found[0]):04x}", text)  # as JSON writes them


class _Json(_Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line)
