"""The texts of a decoded event as one, so that a detector goes through it once however many they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, count, groupby
from typing import Any, Final

from msgspec import Raw

from auditflow.ingest.redaction.detectors import SHORTEST, SHORTEST_NUMBER, Detector, Span
from auditflow.ingest.redaction.paths import Container, Place

_APART: Final = "\n"
"""Stands between two texts. To every detector it is as good as the end."""
LONGEST_WORD: Final = 20
"""Letters from which a name may be a key of AWS; shorter words are nothing that a detector finds."""
_LEAST: Final = 10 ** (SHORTEST_NUMBER - 1)


class Texts:
    """What detectors search: texts, the digits of whole numbers, and names of members."""

    def __init__(self, places: Iterable[Place], named: Iterable[Place] = ()) -> None:
        """Read what is at these places, and what those in `named` are called.

        It has to be changed by `replace` alone from now on, and not at all once that has made it `stale`.
        """
        self.stale = False
        """Whether a member has another name now, so that places are not where they were."""
        self._places: list[Place] = []
        self._texts: list[str] = []
        for place in places:
            value = place[0][place[1]]
            text = value if isinstance(value, str) else _digits(value)
            if len(text) >= SHORTEST:
                self._places.append(place)
                self._texts.append(text)
        self._values = len(self._places)
        for place in named:
            name = place[1]
            if not (name.isalpha() and len(name) < LONGEST_WORD):
                self._places.append(place)
                self._texts.append(name)

    def replace(self, detector: Detector, instead: Callable[[str], str] | None) -> list[Place]:
        """Replace what a detector finds, or with None the whole values by None; gives their places."""
        changed = []
        renamed: dict[int, tuple[Container, dict[str, str]]] = {}
        for number, spans in self._found(detector):
            text = "" if instead is None else _spliced(self._texts[number], spans, instead)
            self._texts[number] = text
            node, key, path = self._places[number]
            if number < self._values:
                node[key] = None if instead is None else text
                changed.append(self._places[number])
            else:
                renamed.setdefault(id(node), (node, {}))[1][key] = text
                changed.append((node, key, (path and path[0], text or "***")))  # nobody is shown the name
        for node, names in renamed.values() if instead is not None else ():
            _rename(node, names)
        self.stale = bool(renamed)
        return changed

    def _found(self, detector: Detector) -> Iterator[tuple[int, list[Span]]]:
        """Give the numbers of the texts in which there is something, and where in them."""
        ends: list[int] = []

        def number(span: Span) -> int:
            nonlocal ends
            ends = ends or list(accumulate(len(text) + len(_APART) for text in self._texts))
            return bisect_right(ends, span[0])

        for found, spans in groupby(detector.find(_APART.join(self._texts)), number):
            start = ends[found - 1] if found else 0
            yield found, [(span[0] - start, span[1] - start) for span in spans]


def _rename(node: Container, names: Mapping[str, str]) -> None:
    """Give members other names, in their places; one that is taken gets a number behind it, so that nothing is lost."""
    members = list(node.items())
    taken = node.keys() - names.keys()
    numbers: dict[str, Iterator[int]] = {}
    node.clear()
    for key, value in members:
        name = free = names.get(key, key)
        while key in names and free in taken:
            free = f"{name}-{next(numbers.setdefault(name, count(2)))}"
        taken.add(free)
        node[free] = value


def _spliced(text: str, spans: list[Span], instead: Callable[[str], str]) -> str:
    pieces, done = [], 0
    for start, end in spans:
        pieces += [text[done:start], instead(text[start:end])]
        done = end
    return "".join([*pieces, text[done:]])


def _digits(value: Any) -> str:
    """Give the digits of a whole number, and nothing for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, Raw)):
        return ""
    if isinstance(value, int):
        return str(value) if abs(value) >= _LEAST else ""
    text = bytes(value).decode().removesuffix(".0")
    return text if text.removeprefix("-").isdigit() else ""
