"""One redaction rule, compiled: what it changes in a decoded event, and which events it cannot concern."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from auditflow.ingest._detectors import Detector, Trace
from auditflow.ingest._redaction_paths import Place, Step, leaves, places

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


def text_of(value: Any) -> str:
    """Give a text as it is, and everything else as its compact JSON."""
    return value if isinstance(value, str) else encode(value).decode()


def key_in_json(name: str) -> bytes:
    """Write the name of a field as JSON does that escapes nothing needlessly."""
    return encode(name)


def is_plain(name: str) -> bool:
    r"""Tell whether every JSON text of the name is `key_in_json`, unless it writes characters as ``\u00XX``."""
    return name.isascii() and name.isprintable() and not set('"\\/') & set(name)


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

    def traces(self) -> tuple[Trace, ...]:
        r"""Give the traces without which it changes no event; an event with ``\u00XX`` may have none."""
        if self.detector:
            return self.detector.traces
        name = [step for step in self.steps if isinstance(step, str)][-1]
        return (Trace((key_in_json(name),) if is_plain(name) else (key_in_json(name), b"\\")),)

    def apply(self, event: dict[str, Any]) -> list[Place]:
        """Change a decoded event in place; gives the places that were changed."""
        changed = []
        for node, key, path in self._places(event):
            redacted = self._redacted(node[key])
            if redacted != node[key]:
                node[key] = redacted
                changed.append((node, key, path))
        if self.action == "drop":
            for node, key, _ in changed:
                if isinstance(node, dict):
                    del node[key]
        return changed

    def _places(self, event: dict[str, Any]) -> Iterator[Place]:
        if not self.detector:
            return places(event, self.steps)
        roots = places(event, self.steps) if self.steps else _searched(event)
        return (leaf for root in roots for leaf in leaves(root))

    def _redacted(self, value: Any) -> Any:
        """Give what is to stand there; None for nothing."""
        if self.detector:
            return self._without_findings(value, self.detector)
        return None if value is None or self.action == "drop" else self._stand_in(text_of(value))

    def _stand_in(self, text: str) -> str:
        return self.stand_in(text.encode()).decode()

    def _without_findings(self, value: Any, detector: Detector) -> Any:
        if value is None or isinstance(value, bool):
            return value
        text = text_of(value)
        if not isinstance(value, str):
            text = text.removesuffix(".0")
            if not text.removeprefix("-").isdigit():
                return value  # the digits of a fraction mean nothing
        pieces, done = [], 0
        for start, end in detector.find(text):
            if self.action == "drop":
                return None
            pieces += [text[done:start], self._stand_in(text[start:end])]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else value


def _searched(event: dict[str, Any]) -> Iterator[Place]:
    return ((event, name, (None, name)) for name in event if name not in _NEVER_SEARCHED)
