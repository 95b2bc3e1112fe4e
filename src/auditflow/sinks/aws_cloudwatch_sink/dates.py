"""Dates in names of log groups and streams: ``{{ eventTime:%Y-%m-%d }}``, in UTC, by the event's time."""
# Tested in tests/sinks/aws_cloudwatch_sink/test_templates.py.

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

FORMAT: Final = re.compile(r"(?:%[YmdHjGV]|[-_.0-9A-Za-z])+")
"""No smaller part than the hour: each name is a stream of its own."""
_LONGEST_NUMBER: Final = 20


def dated(value: str, form: str) -> str:
    """Write the date of a time: RFC 3339, or Unix time in seconds or milliseconds; empty for what is neither."""
    try:
        moment = datetime.fromisoformat(value) if not value.isdecimal() else _of_number(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


def _of_number(text: str) -> datetime:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(text)
    seconds = float(text)
    return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)  # noqa: PLR2004 - the year 5138
