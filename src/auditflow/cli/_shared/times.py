"""Times as people write them on a command line."""

import time
from datetime import UTC, datetime

import typer


def moment(text: str, flag: str) -> float:
    """Read ``now``, an age such as ``1h``, or an ISO 8601 time (UTC when it names no zone) as Unix seconds.

    Raises typer.BadParameter.
    """
    from auditflow.units import seconds

    if text == "now":
        return time.time()
    if text.isdecimal():
        raise typer.BadParameter(_without_unit(text), param_hint=flag)
    try:
        return max(0.0, time.time() - seconds(text))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        message = f"{text!r}: expected now, an age such as 30m, 1h or 7d, or a time such as 2026-01-31T12:00Z"
        raise typer.BadParameter(message, param_hint=flag) from None


def _without_unit(text: str) -> str:
    """Say how to write what a bare number may mean: what is deleted depends on it."""
    message = f"{text!r} has no unit: for an age in seconds write {text}s"
    try:
        at = datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        return message
    return f"{message}, for the Unix time write {at:%Y-%m-%dT%H:%M:%SZ}"


def instant(text: str, flag: str) -> str:
    """Read what `moment` reads and write it as the server takes it. Raises typer.BadParameter."""
    return datetime.fromtimestamp(moment(text, flag), UTC).isoformat()
