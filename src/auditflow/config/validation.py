"""What a model says against a document, as problems with line and column that repeat no secret."""
# Tested in tests/config/test_loader.py.

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from auditflow.config.document import Document, Where
from auditflow.config.model import Surroundings
from auditflow.errors import Problem
from auditflow.settings import SHORTEST_SECRET, Fault, Settings, faults

S_ = TypeVar("S_", bound=Settings)

_USE_A_VARIABLE: Final = "write ${NAME}, and set that environment variable"

_HOLDERS: Final = (("sink", "properties"), ("sink", "fallback", "properties"))
"""Where, from a pipeline, secrets may stand."""

_PIECE: Final = 6
"""Letters and digits in a row that a message and a value may not share."""


def validated(
    document: Document, model: type[S_], surroundings: Surroundings, problems: list[Problem]
) -> S_ | None:
    """Check a document against a model. What is wrong is added to `problems`; then, and for no data, gives None."""
    if document.data is None:
        return None
    for where in document.secrets:
        if not _is_property(where):
            problems.append(
                document.problem(where, "a secret can only stand in a property of a sink", _USE_A_VARIABLE)
            )
            document.unfilled.add(where)
    try:
        return model.model_validate(document.data, context=surroundings)
    except ValidationError as error:
        for fault in faults(error):
            where = _in_file(document, fault.where)
            if fault.unknown or not any(place[: len(where)] == where for place in document.unfilled):
                problems.append(_problem(document, where, fault))
    return None


def _is_property(where: Where) -> bool:
    """Tell whether this is a value among a sink's or fallback's properties."""
    inside = where[2:] if where[:1] == ("pipelines",) else ()
    return any(inside[: len(holder)] == holder and len(inside) > len(holder) for holder in _HOLDERS)


def _in_file(document: Document, where: Where) -> Where:
    """Cut what lies below a text or number: the model's names for its alternatives, not the file's."""
    for length in range(len(where)):
        if where[:length] in document.values:
            return where[:length]
    return where


def _problem(document: Document, where: Where, fault: Fault) -> Problem:
    message, hint = fault.message, fault.hint
    for place, values in document.filled.items():
        if place[: len(where)] == where:
            message, hint = _without_values(message, hint, values)
    return document.problem(where, message, hint, at_key=fault.unknown)


def _without_values(message: str, hint: str, values: Mapping[str, str]) -> tuple[str, str]:
    """Name the variable where a text repeats its value or a piece of it: it may be secret."""
    for name, value in values.items():
        message, hint = (text.replace(repr(value), f"${{{name}}}") for text in (message, hint))
        said = _letters(f"{message} {hint}")
        for form in (_letters(value), _letters(repr(value))):
            length = min(len(form), _PIECE)
            pieces = {form[start : start + length] for start in range(len(form) - length + 1)}
            if length >= SHORTEST_SECRET and any(piece in said for piece in pieces):
                return f"the value of ${{{name}}} is not accepted here", ""
    return message, hint


def _letters(text: str) -> str:
    """Leave only what quoting, escaping, trimming and changes of case do not touch."""
    return re.sub(r"[\W_]+", "", text).casefold()
