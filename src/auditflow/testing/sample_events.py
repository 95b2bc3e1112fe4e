"""Believable audit events, the same for the same seed: for the demo, for benchmarks and for tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_ACTIONS: Final = (
    ("auth.login", "web-portal", "LOGIN"),
    ("auth.logout", "web-portal", "LOGOUT"),
    ("auth.mfa.challenge", "identity", "MFA_CHALLENGE"),
    ("user.role.changed", "identity", "CHANGE_ROLE"),
    ("document.viewed", "records", "VIEW"),
    ("document.exported", "records", "EXPORT"),
    ("payment.approved", "billing", "APPROVE"),
    ("api-key.created", "platform", "CREATE_KEY"),
)
_PEOPLE: Final = ("amara.okafor", "ben.ito", "chloé.martin", "dmitri.sokolov", "eun-ji.park", "fatima.zahra")
_PLACES: Final = (
    ("DE", "Berlin", 52.52, 13.405),
    ("US", "Seattle", 47.606, -122.332),
    ("JP", "Tōkyō", 35.677, 139.65),
    ("BR", "São Paulo", -23.55, -46.633),
)
_OUTCOMES: Final = ("SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "DENIED")


def sample_events(seed: int = 1, start: datetime | None = None) -> Iterator[dict[str, Any]]:
    """Give events without end, some tens of milliseconds apart from `start` on (default: now)."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    at = start or datetime.now(UTC)
    while True:
        at += timedelta(milliseconds=dice.randint(5, 60))
        kind, system, action = dice.choice(_ACTIONS)
        country, city, lat, lon = dice.choice(_PLACES)
        outcome = dice.choice(_OUTCOMES)
        yield {
            "eventType": kind,
            "sourceSystem": system,
            "eventTime": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "geolocation": {"lat": lat, "lon": lon, "countryCode": country, "city": city},
            "extra": {
                "userId": dice.choice(_PEOPLE),
                "actionName": action,
                "actionStatus": outcome,
                "sessionId": f"{dice.getrandbits(64):016x}",
                "ip": f"203.0.113.{dice.randint(1, 254)}",
                "durationMs": dice.randint(2, 900),
            },
        }
