"""One redaction rule, compiled: what it changes in a decoded event, and which events it cannot concern."""
# Tested in tests/ingest/redaction/test_redactor.py.

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import msgspec

from auditflow.event.model import FIELDS
from auditflow.event.paths import Every, Step
from auditflow.ingest.redaction.detectors import Detector
from auditflow.ingest.redaction.paths import Place, leaves, names, places
from auditflow.ingest.redaction.texts import Texts

NEVER_TOUCHED: Final = frozenset({"eventId", "tenantId", "timestamp"})
"""Fields that say which event it is and whose."""
MANIFEST: Final = "redaction"
"""The server's own field of an event, when a manifest is kept: the ids of the rules that changed it."""
REQUIRED: Final = frozenset({"eventType", "sourceSystem"})

_NEVER_SEARCHED: Final = NEVER_TOUCHED | {"eventTime"}
encode: Final = msgspec.json.Encoder().encode


def keyed_hash(key: bytes) -> Callable[[bytes], bytes]:
    """Give the function that turns a text into its HMAC-SHA256 in hexadecimal."""
    return lambda text: hmac.digest(key, text, "sha256").hex().encode()


def with_manifest(event: bytes, ids: list[str]) -> bytes:
    """Put the manifest in front of the other fields of an event."""
    rest = event.lstrip()[1:]
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return b'{"%b":%b%b%b' % (MANIFEST.encode(), encode(ids), comma, rest)


def key_in_json(name: str) -> bytes:
    """Write the name of a field as JSON does that escapes nothing needlessly."""
    return encode(name)


def is_plain(name: str) -> bool:
    r"""Tell whether every JSON text of the name is `key_in_json`, unless it writes characters as ``\u00XX``."""
    return name.isascii() and name.isprintable() and not set('"\\/') & set(name)


def key_traces(name: str) -> tuple[bytes, ...]:
    r"""Give RE2 patterns of which one is in every JSON text that has the name, or else ``\u00XX`` is."""
    written = re.escape(key_in_json(name))
    return (written,) if is_plain(name) else (written, rb"\\")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A redaction rule that is ready to be applied."""

    id: str
    action: str
    """mask, hash or drop."""
    steps: tuple[Step, ...]
    """Where it acts; empty for a detector that looks everywhere."""
    detector: Detector | None
    stand_in: Callable[[bytes], bytes]
    """Gives what is put in place of a text, both in UTF-8; JSON needs no escapes for it."""
    listed: bool
    """Whether the manifest names it."""

    def traces(self) -> tuple[bytes, ...]:
        r"""Give RE2 patterns of which one is in every event that it may change, or else ``\u00XX`` is."""
        if self.detector:
            return self.detector.traces
        return key_traces([step for step in self.steps if isinstance(step, str)][-1])

    def apply(self, event: dict[str, Any]) -> list[Place]:
        """Change a decoded event in place, where no detector is needed; gives the places that were changed."""
        changed = []
        for place in list(self._places(event)):
            node, key, _ = place
            value = node[key]
            instead = self._without_value(value)
            if instead != value:
                node[key] = instead
                changed.append(place)
        return self._dropped(changed)

    def texts(self, event: dict[str, Any]) -> Texts:
        """Read what the detector searches."""
        if not self.steps:
            return Texts(chain.from_iterable(map(leaves, _searched(event))), names(event))
        roots = list(self._places(event))
        below = (names(node[key], path) for node, key, path in roots)
        return Texts(chain.from_iterable(map(leaves, roots)), chain.from_iterable(below))

    def search(self, detector: Detector, texts: Texts) -> list[Place]:
        """Change what the detector finds; gives the places that were changed."""
        return self._dropped(texts.replace(detector, None if self.action == "drop" else self._stand_in))

    def _places(self, event: dict[str, Any]) -> Iterator[Place]:
        """Give what the path leads to; at any depth is below the fields that have a meaning here, or beside them."""
        found = places(event, self.steps)
        if self.steps[0] is not Every.DEPTH:
            return found
        return (place for place in found if place[0] is not event or place[1] not in FIELDS)

    def _dropped(self, changed: list[Place]) -> list[Place]:
        if self.action == "drop":
            for node, key, _ in changed:
                if isinstance(node, dict):
                    node.pop(key, None)  # the name and the value may both be gone
        return changed

    def _without_value(self, value: Any) -> str | None:
        """Give what is to stand there; None for nothing."""
        if value is None or self.action == "drop":
            return None
        return self._stand_in(value if isinstance(value, str) else encode(value).decode())

    def _stand_in(self, text: str) -> str:
        return self.stand_in(text.encode()).decode()


def _searched(event: dict[str, Any]) -> Iterator[Place]:
    return ((event, name, (None, name)) for name in event if name not in _NEVER_SEARCHED)
