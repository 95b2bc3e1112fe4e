"""Properties that refer to secrets: `${secretRef:key}` stands for a secret of the tenant, got when the sink is used.

When a configuration is loaded nobody asks for a secret: its reference stands in for it, so that everything else is
checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from auditflow.settings import SHORTEST_SECRET
from auditflow.sinks._base import Properties

SCHEME: Final = "secretRef:"
"""What a reference begins with, after ``${``."""

is_key = re.compile(r"[a-zA-Z0-9_]{1,128}").fullmatch
"""Tell whether a text may be the key of a secret: it becomes part of a variable's and of a file's name."""

Place = tuple[int | str, ...]
"""Keys and indexes from a sink's properties to a value."""

Checked = Properties | dict[str, str]

_AN_ADDRESS: Final = "https://secret.invalid"
"""Stands in for a secret where nothing but a URL is accepted; RFC 2606 §2 keeps the name from existing."""


class SecretText(str):
    """A text with references in it, which as a text stand for themselves."""

    __slots__ = ("pieces",)
    pieces: tuple[str, ...]
    """Texts and keys by turns, a text first and last."""

    @classmethod
    def of(cls, pieces: Sequence[str]) -> Self:
        """Make one of texts and keys by turns, a text first and last."""
        shown = (f"${{{SCHEME}{piece}}}" if i % 2 else piece for i, piece in enumerate(pieces))
        made = cls("".join(shown))
        made.pieces = tuple(pieces)
        return made

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the secrets it refers to."""
        return self.pieces[1::2]

    def filled(self, secrets: Mapping[str, str]) -> str:
        """Give the text with the secrets in place."""
        return "".join(secrets[piece] if i % 2 else piece for i, piece in enumerate(self.pieces))


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sink's properties as they were written, with references in place of secrets."""

    tenant: str
    """Whose secrets they are."""
    given: Mapping[str, Any] = field(repr=False)
    shown: Checked | None = field(compare=False, repr=False)
    """The same, checked, with something that does no harm for each secret; None where nothing else fits."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all secrets they refer to, each once."""
        return tuple(dict.fromkeys(key for _, text in references(self.given) for key in text.keys))

    def filled(self, secrets: Mapping[str, str]) -> Any:
        """Give them as they would be written with the secrets in place."""
        return _replaced(self.given, (), lambda _, text: text.filled(secrets))


def seal(given: Any, tenant: str, parse: Callable[[Any], Checked]) -> Checked | Sealed:
    """Check properties as `parse` does; those that refer to secrets are sealed.

    Raises pydantic.ValidationError with all faults that no secret can fix.
    """
    places = {place for place, _ in references(given)} if isinstance(given, dict) else set()
    if not places:
        return parse(given)
    try:
        return Sealed(tenant, given, parse(given))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        if others := [each for each in details if not _at(each["loc"], places)]:
            kept = [_as_it_was(each) for each in others]
            raise ValidationError.from_exception_data(error.title, kept, hide_input=True) from None
        return Sealed(tenant, given, _approximately(given, _unfit(details, places), parse))


def references(value: Any, place: Place = ()) -> Iterator[tuple[Place, SecretText]]:
    """Find the texts in properties that refer to secrets, and where they stand."""
    if isinstance(value, SecretText):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from references(item, (*place, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references(item, (*place, index))


def without(text: str, secrets: Iterable[str]) -> str:
    """Give a text with asterisks where it repeats a secret."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, "***")
    return text


def _at(location: Place, places: set[Place]) -> set[Place]:
    """Give the one of these places at or below which a fault is."""
    return {place for place in places if location[: len(place)] == place}


def _unfit(details: Sequence[ErrorDetails], places: set[Place]) -> set[Place]:
    return set().union(*(_at(each["loc"], places) for each in details))


def _as_it_was(details: ErrorDetails) -> InitErrorDetails:
    context = {"hint": details.get("ctx", {}).get("hint", "")}
    error = PydanticCustomError(details["type"], details["msg"], context)
    return InitErrorDetails(type=error, loc=details["loc"], input=None)


def _approximately(given: Any, unfit: set[Place], parse: Callable[[Any], Checked]) -> Checked | None:
    """Check with an address at the unfit places, and without what does not fit then, either."""
    stand_ins: dict[Place, str | None] = {}
    for stand_in in (_AN_ADDRESS, None):
        stand_ins |= dict.fromkeys(unfit, stand_in)
        try:
            return parse(_replaced(given, (), stand_ins.get))
        except ValidationError as error:
            unfit = _unfit(error.errors(include_url=False, include_input=False), set(stand_ins))
    return None


def _replaced(value: Any, place: Place, replace: Callable[[Place, SecretText], str | None]) -> Any:
    if isinstance(value, SecretText):
        return replace(place, value)
    if isinstance(value, dict):
        return {name: _replaced(item, (*place, name), replace) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, (*place, index), replace) for index, item in enumerate(value)]
    return value
