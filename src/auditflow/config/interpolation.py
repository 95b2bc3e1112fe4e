"""Variables in YAML text: ``${NAME}``, ``${NAME:-default}``, and ``$${`` for a literal ``${``.

A secret, ``${secretRef:key}``, stays as it is: it is got when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from auditflow.errors import did_you_mean
from auditflow.outside_text import is_text, without_line_end
from auditflow.secrets.references import SCHEME, SecretText, is_key
from auditflow.secrets.sources import VARIABLES

_BEGIN: Final = re.compile(r"\$\$?\{")
_BRACE: Final = re.compile(r"[{}]")
_INSIDE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{).)*))?", re.DOTALL)
_SYNTAX_HINT: Final = "write ${NAME}, ${NAME:-default}, in which each { has its }, or ${secretRef:key}; for a literal ${ write $${"
_BY_KEY: Final = "write ${secretRef:key} in a pipeline of that tenant"


@dataclass(slots=True)
class Expansion:
    """A text with its variables filled in."""

    text: str
    """A `SecretText` where it refers to secrets."""
    values: dict[str, str] = field(default_factory=dict)
    """Variables that were filled in, by name. They may be secret."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Message and hint of what could not be filled in; then `text` is of no use."""


def expand(text: str, environ: Mapping[str, str]) -> Expansion:
    """Fill variables in; line ends at the end of a value do not count.

    As in a shell, a default also stands in for a variable that is set but empty.
    """
    expansion = Expansion(text)
    pieces = [""]  # texts and keys of secrets by turns
    end = 0
    while begin := _BEGIN.search(text, end):
        pieces[-1] += text[end : begin.start()]
        end = begin.end()
        if begin[0] == "$${":
            pieces[-1] += "${"
            continue
        close = _closing(text, end)
        inside = text[end:close]
        end = close + 1
        if inside.startswith(SCHEME) and close < len(text):
            pieces += [_key(inside.removeprefix(SCHEME), expansion), ""]
        else:
            pieces[-1] += _value(inside if close < len(text) else "", environ, expansion)
    pieces[-1] += text[end:]
    expansion.text = SecretText.of(pieces) if len(pieces) > 1 else pieces[0]
    return expansion


def _closing(text: str, start: int) -> int:
    """Find the brace that closes the one before `start`; the text's length where there is none."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.start()
    return len(text)


def _value(inside: str, environ: Mapping[str, str], expansion: Expansion) -> str:
    variable = _INSIDE.fullmatch(inside)
    if variable is None:
        expansion.problems.append(("not a variable that follows ${", _SYNTAX_HINT))
        return ""
    name, default = variable["name"], variable["default"]
    if name.startswith(VARIABLES):
        expansion.problems.append((f"{name} may hold the secret of a tenant", _BY_KEY))
        return ""
    if name not in environ and default is None:
        expansion.problems.append((f"the environment variable {name} is not set", _unset_hint(name, environ)))
        return ""
    value = environ.get(name, "") if default is None else environ.get(name) or default
    value = without_line_end(value)
    if not is_text(value):
        expansion.problems.append(
            (f"the environment variable {name} is not UTF-8", "set it to text in UTF-8")
        )
        return ""
    expansion.values[name] = value
    return value


def _key(key: str, expansion: Expansion) -> str:
    if not is_key(key):
        message = "the key of a secret may hold letters, digits and underscores only"
        expansion.problems.append((message, f"write ${{{SCHEME}api_key}}, say"))
    return key


def _unset_hint(name: str, environ: Mapping[str, str]) -> str:
    meant = did_you_mean(name, environ)
    return f"{meant} Set it (export {name}=…), or give a default: ${{{name}:-…}}".lstrip()
