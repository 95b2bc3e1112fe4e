"""Environment variables in YAML text: ``${NAME}``, ``${NAME:-default}``, and ``$${`` for a literal ``${``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auditflow.errors import did_you_mean

_TOKEN: Final = re.compile(r"\$(?:(?P<escaped>\$\{)|\{(?P<inside>[^}]*)(?P<end>\}?))")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{).)*))?", re.DOTALL)
_SYNTAX_HINT: Final = "write ${NAME} or ${NAME:-default}; for a literal ${ write $${"


@dataclass(slots=True)
class Expansion:
    """A text with its variables filled in."""

    text: str
    values: dict[str, str] = field(default_factory=dict)
    """Variables that were filled in, by name. They may be secret."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Message and hint of what could not be filled in; then `text` is of no use."""


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Fill variables in. As in a shell, a default also stands in for a variable that is set but empty."""
    expansion = Expansion(text)

    def fill(token: re.Match[str]) -> str:
        if token["escaped"]:
            return "${"
        inside = _INSIDE.fullmatch(token["inside"])
        if inside is None or not token["end"]:
            expansion.problems.append(("not a variable that follows ${", _SYNTAX_HINT))
            return ""
        name, default = inside["name"], inside["default"]
        if name not in environ and default is None:
            expansion.problems.append(
                (f"the environment variable {name} is not set", _unset_hint(name, environ))
            )
            return ""
        value = expansion.values[name] = (
            environ.get(name, "") if default is None else environ.get(name) or default
        )
        return value

    if "${" in text:
        expansion.text = _TOKEN.sub(fill, text)
    return expansion


def _unset_hint(name: str, environ: Mapping[str, str]) -> str:
    meant = did_you_mean(name, environ)
    return f"{meant} Set it (export {name}=…), or give a default: ${{{name}:-…}}".lstrip()
