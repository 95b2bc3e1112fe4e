"""Times as answers write them."""

from datetime import UTC, datetime


def rfc3339(milliseconds: int) -> str:
    """Write Unix time in milliseconds as RFC 3339, in UTC."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
