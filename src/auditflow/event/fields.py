"""Reads some fields of an event and nothing else of it: a tenth of the time that decoding all of it takes."""
# Tested in tests/pipelines/decide/test_filter.py.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final

import msgspec

_Tree = dict[str, "_Tree | None"]

REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a view raises for an event that is shaped otherwise, or no event: decode it whole then."""


class FieldAccess:
    """Compiled for the paths of some fields, as lists of keys and indexes.

    Keys are followed in C, by a class that has just these fields; from the first index of a path on, what is
    there is decoded as it is. `leaf` is what the fields have to be, null aside.
    """

    def __init__(self, paths: Iterable[Sequence[str | int]], leaf: Any = Any) -> None:
        tree: _Tree = {}
        paths = list(paths)
        self._whole = any(not _nameable(path[0]) for path in paths)
        for path in paths if not self._whole else ():
            _grow(tree, path)
        self._leaf = leaf
        self._names: dict[tuple[str, ...], str] = {}
        kind = dict[str, leaf] if self._whole else self._class(tree, ())
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
        """Give the event as an object for `reader`. Raises `REFUSED`."""

    def reader(self, path: Sequence[str | int]) -> Callable[[Any], Any]:
        """Give a function of what `decode` gives; it ends in None where the path leads nowhere."""
        if self._whole:
            return lambda fields: follow(fields, path)
        keys: tuple[str, ...] = ()
        names = []
        while len(keys) < len(path) and (*keys, path[len(keys)]) in self._names:
            keys = (*keys, str(path[len(keys)]))
            names.append(self._names[keys])
        get, rest = attrgetter(".".join(names)), path[len(keys) :]

        def read(fields: Any) -> Any:
            try:
                return get(fields)
            except AttributeError:  # something on the way is absent or null
                return None

        if rest:
            return lambda fields: follow(read(fields), rest)
        return get if len(names) == 1 else read

    def _class(self, tree: _Tree, above: tuple[str, ...]) -> type[msgspec.Struct]:
        """Make the class; field names are ours, since keys need not be identifiers."""
        fields: list[tuple[str, Any, Any]] = []
        keys = {}
        for place, (key, inside) in enumerate(tree.items()):
            name = self._names[*above, key] = f"f{place}"
            keys[name] = key
            kind = (self._class(inside, (*above, key)) if inside else self._leaf) | None
            fields.append((name, kind, None))
        return msgspec.defstruct("Fields", fields, rename=keys, gc=False)


def follow(node: Any, path: Iterable[str | int]) -> Any:
    """Follow keys and indexes into decoded JSON; None where they lead nowhere."""
    for step in path:
        if isinstance(step, str):
            node = node.get(step) if isinstance(node, dict) else None
        else:
            node = node[step] if isinstance(node, list) and step < len(node) else None
        if node is None:
            return None
    return node


def _nameable(step: str | int) -> bool:
    """Tell whether a class can have a field of this name in JSON: msgspec takes none that has to be escaped."""
    return isinstance(step, str) and step.isprintable() and not {'"', "\\"} & set(step)


def _grow(tree: _Tree, path: Sequence[str | int]) -> None:
    """Add a path. What is wanted whole, or is to be a list, is a leaf, whatever else is wanted inside it."""
    *above, last = takewhile(_nameable, path)
    for key in above:
        inside = tree.setdefault(str(key), {})
        if inside is None:
            return
        tree = inside
    tree[str(last)] = None
