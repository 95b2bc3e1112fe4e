"""A YAML file as plain data that remembers where everything stands.

YAML 1.2's core types: only true and false are booleans, `no`, `on` and `yes` are text. A number is a number
only if it reads back as it was written; `012`, `1.10` and `1e3` stay text, so that an account id keeps its
zero, and a model that wants a number reads them as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from auditflow.config.interpolation import expand
from auditflow.errors import Problem
from auditflow.secrets.references import SecretText
from auditflow.units import readable_size

Where = tuple[int | str, ...]
"""Keys and indexes from the root of a document to a value."""

MAX_BYTES: Final = 16 * 2**20
"""Of one file: thousands of pipelines."""
_MAX_DEPTH: Final = 50
_MAX_REPEATS: Final = 100_000
"""Values that aliases and merge keys may bring in again: far above need, far below what exhausts memory."""

_STANDARD: Final = "tag:yaml.org,2002:"


class _Loader(yaml.CSafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - a class attribute by PyYAML's design


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_STANDARD + _tag, re.compile(rf"(?:{_pattern})$"), _first)


@dataclass(slots=True)
class Document:
    """One file: its data, where each value stands, and what is wrong with it as YAML."""

    file: Path
    data: Any = None
    keys: dict[Where, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the key or list item that holds a value."""
    values: dict[Where, tuple[int, int]] = field(default_factory=dict)
    """Line and column of texts, numbers and booleans."""
    filled: dict[Where, dict[str, str]] = field(default_factory=dict)
    """Values that came from the environment, by variable: never to be repeated in a message."""
    secrets: dict[Where, SecretText] = field(default_factory=dict)
    """Values that refer to secrets."""
    unfilled: set[Where] = field(default_factory=set)
    """Values whose variables could not be filled in."""
    problems: list[Problem] = field(default_factory=list)

    def problem(self, where: Where, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Make a problem at a value, or at the nearest thing around it that stands in the file."""
        line, column = 1, 1
        for length in range(len(where), -1, -1):
            place = where[:length]
            found = (None if at_key else self.values.get(place)) or self.keys.get(place)
            if found:
                line, column = found
                break
        return Problem(str(self.file), line, column, path_text(where), message, hint)


def path_text(where: Where) -> str:
    """Write a place the way people do: ``pipelines[0].sink.name``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return text.removeprefix(".")


def read(file: Path, environ: Mapping[str, str], content: bytes | None = None) -> Document:
    """Read a file, or its content if that is given, and fill in its variables.

    Never raises for what the file holds: see `problems`.
    """
    document = Document(file)
    root = _compose(document, content)
    if root is not None:
        try:
            document.data = _Reader(document, environ).value(root, ())
        except _GiveUp as reason:
            document.problems.append(document.problem((), *reason.args))
    return document


def content_of(file: Path) -> bytes:
    """Read a file that a person wrote: no more of it than shows that it is too large. Raises OSError."""
    with file.open("rb") as source:
        return source.read(MAX_BYTES + 1)


def _compose(document: Document, content: bytes | None) -> yaml.Node | None:
    try:
        if content is None:
            content = content_of(document.file)
        _refuse_size(content)
        text = content.decode()
        _refuse_depth(text)
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such file" if missing else str(error.strerror)
        hint = "Write one with `auditflow init`, or name the file that you mean." if missing else ""
        document.problems.append(document.problem((), f"the file cannot be read: {reason}", hint))
    except UnicodeDecodeError as error:
        document.problems.append(
            _at_offset(document, error.object[: error.start].decode(), "the file is not UTF-8")
        )
    except yaml.reader.ReaderError as error:
        message = f"the character U+{error.character:04X} is not allowed in YAML"
        document.problems.append(_at_offset(document, text.encode()[: error.position].decode(), message))
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(document, error))
    except _GiveUp as reason:
        document.problems.append(document.problem((), *reason.args))
    else:
        if root is None:
            hint = "begin with `pipelines:`, or a tenant's file with `tenantId:`; the guide has examples"
            document.problems.append(document.problem((), "the file is empty", hint))
        return root
    return None


def _refuse_size(content: bytes) -> None:
    if len(content) > MAX_BYTES:
        raise _GiveUp(f"the file is larger than {readable_size(MAX_BYTES)}")


def _refuse_depth(text: str) -> None:
    """Refuse deep nesting before it is composed: composing recurses in C and would crash the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise _GiveUp(f"nested more than {_MAX_DEPTH} levels deep")


def _syntax_problem(document: Document, error: yaml.MarkedYAMLError) -> Problem:
    message, hint = str(error.problem), ""
    if "tab" in message or "cannot start any token" in message:
        hint = "indent with spaces, not tabs, and put text that begins with @, ` or % in quotes"
    elif "another document" in message:
        message, hint = (
            "a second document begins here",
            "keep one document per file, without `---` in between",
        )
    elif "mapping values" in message:
        hint = "put text that holds a colon and a space in quotes"
    return _at(document, error.problem_mark or error.context_mark, f"not valid YAML: {message}", hint)


def _at(document: Document, mark: Any, message: str, hint: str = "") -> Problem:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem(str(document.file), line, column, "", message, hint)


def _at_offset(document: Document, before: str, message: str) -> Problem:
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return Problem(str(document.file), line, column, "", message, "save the file as UTF-8 text")


class _GiveUp(Exception):
    """Nothing more can be read from this document: message and hint."""


class _Reader:
    """Turns composed nodes into data."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document = document
        self._environ = environ
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._repeats = 0

    def value(self, node: yaml.Node, where: Where) -> Any:
        """Turn a node into data, and everything below it."""
        self._document.keys.setdefault(where, _place(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, where)
        if node.tag.removeprefix(_STANDARD) not in {"seq", "map"}:
            self._refuse_tag(node, where)
        with self._inside(node):
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*where, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, where)

    def _mapping(self, node: yaml.Node, where: Where) -> dict[str, Any]:
        data = {}
        for name, (key, value) in self._pairs(node, where).items():
            self._document.keys[*where, name] = _place(key)
            data[name] = self.value(value, (*where, name))
        return data

    def _pairs(self, node: yaml.Node, where: Where) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Give the mapping's entries; its own win over those that merge keys bring in."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if key.tag == f"{_STANDARD}merge":
                for pairs in self._merged(value, where):
                    self._repeat(len(pairs))
                    for each, pair in pairs.items():
                        merged.setdefault(each, pair)
            elif not isinstance(key, yaml.ScalarNode):
                self._report(key, where, "a key must be text")
            elif name in own:
                first = own[name][0].start_mark.line + 1
                self._report(
                    key, (*where, name), f"given twice, first in line {first}", "keep one of the two"
                )
            else:
                own[name] = (key, value)
        return merged | own

    def _merged(self, node: yaml.Node, where: Where) -> Iterator[dict[str, tuple[yaml.Node, yaml.Node]]]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(source, yaml.MappingNode):
                with self._inside(source):
                    yield self._pairs(source, where)
            else:
                self._report(source, where, "`<<` takes a mapping or a list of mappings")

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> Any:
        self._document.values[where] = _place(node)
        self._count(node)
        match node.tag.removeprefix(_STANDARD):
            case "null":
                return None
            case "bool" if node.value.lower() in {"true", "false"}:
                return node.value.lower() == "true"
            case "int" | "float" as kind:
                return _number(node.value, kind)
            case "str":
                return self._filled(node, where)
        self._refuse_tag(node, where)
        return node.value

    def _filled(self, node: yaml.ScalarNode, where: Where) -> str:
        expansion = expand(node.value, self._environ)
        for message, hint in expansion.problems:
            self._report(node, where, message, hint)
        if expansion.problems:
            self._document.unfilled.add(where)
        elif expansion.values:
            self._document.filled[where] = expansion.values
        if isinstance(expansion.text, SecretText):
            self._document.secrets[where] = expansion.text
        return expansion.text

    @contextmanager
    def _inside(self, node: yaml.Node) -> Iterator[None]:
        """Stand in a mapping or list while it is read. Ends the reading where that would not end by itself."""
        if id(node) in self._open:
            raise _GiveUp(
                "an alias stands inside what it repeats, so this would never end", "remove the alias"
            )
        if len(self._open) >= _MAX_DEPTH:
            raise _GiveUp(f"nested more than {_MAX_DEPTH} levels deep")
        self._count(node)
        self._open.add(id(node))
        yield
        self._open.remove(id(node))

    def _count(self, node: yaml.Node) -> None:
        self._repeat(id(node) in self._seen)
        self._seen.add(id(node))

    def _repeat(self, count: int) -> None:
        """Count values that stand in the file once and in the data again."""
        self._repeats += count
        if self._repeats > _MAX_REPEATS:
            raise _GiveUp(
                f"its aliases and merge keys repeat more than {_MAX_REPEATS} values", "use fewer of them"
            )

    def _refuse_tag(self, node: yaml.Node, where: Where) -> None:
        hint = "put text that begins with ! in quotes, or leave the tag out"
        self._report(node, where, "a tag, which begins with !, is not supported", hint)

    def _report(self, node: yaml.Node, where: Where, message: str, hint: str = "") -> None:
        line, column = _place(node)
        self._document.problems.append(
            Problem(str(self._document.file), line, column, path_text(where), message, hint)
        )


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _number(text: str, kind: str) -> int | float | str:
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        return text
    return number if repr(number) == text else text
