"""Names of log groups and streams, with fields of the event in them: ``/acme/{{ tenantId:-none }}/audit``.

A field is a path as in conditions: names joined by dots, list items by index. Texts, numbers, true and false
are written as they are; what is absent, null, empty, a list or an object is written as the default after
``:-``, else as ``unknown``. Behind ``:%`` a time is written as a date; where the event has no ``eventTime``, that of
its acceptance.

A value stays in its place: ``/`` and whatever the service does not take in a name become ``_``. A name that
was changed or cut ends in ``#`` and a digest of the values as they were. No unchanged value holds a ``#``, so
two events share a name only when they have the same values.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

import msgspec
from pydantic_core import PydanticCustomError

from auditflow.event.fields import REFUSED, FieldAccess
from auditflow.event.paths import parse_path
from auditflow.settings import misfit
from auditflow.sinks.aws_cloudwatch_sink.dates import FORMAT, dated

LONGEST: Final = 512
"""Characters of a name (CreateLogGroup and CreateLogStream API references)."""
LONGEST_TEXT: Final = 400
"""Characters of a template's fixed text, so that it stays whole in a name that is cut."""
KEPT: Final = 10_000
"""Names remembered for the values they were made of."""
ABSENT: Final = "unknown"
EVENT_TIME: Final = ("eventTime",)
ACCEPTED: Final = ("timestamp",)

Fields = Mapping[str, msgspec.Raw]
"""The fields of an event by name, each as its JSON text."""


class Kind(NamedTuple):
    """What the service takes in a name."""

    property: str
    text: re.Pattern[str]
    """What fixed text is made of."""
    unclean: re.Pattern[str]
    """What a value cannot bring into the name."""
    example: str


GROUP: Final = Kind(
    "log-group",
    re.compile(r"[.\-_/#A-Za-z0-9]*"),
    re.compile(r"[^.\-_A-Za-z0-9]"),
    "/acme/{{ tenantId }}",
)
STREAM: Final = Kind(
    "log-stream",
    re.compile(r"[^:*\x00-\x1f\x7f-\x9f]*"),
    re.compile(r"[:*/#\x00-\x1f\x7f-\x9f\ud800-\udfff]"),
    "{{ sourceSystem }}",
)

_FIELD: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_PATH: Final = re.compile(
    r"""((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s:{}"'])+)\s*(?::(%.*?)\s*(?=:-|$))?(?::-(.*))?""",
    re.DOTALL,
)
"""A path, of which only quoted names hold blanks, colons and braces, the format of a date, and a default."""
_SUFFIX_BYTES: Final = 12

_decode = msgspec.json.decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Field(NamedTuple):
    path: tuple[str | int, ...]
    default: str
    date: str = ""
    """How a time is written, as for strftime; empty for what is no time."""

    def of(self, value: str, accepted: str) -> str:
        """Give what stands in the name for a value; `accepted` is when the event was."""
        if self.date:
            value = dated(value or (accepted if self.path == EVENT_TIME else ""), self.date)
        return value or self.default


class Template:
    """A name, compiled once. Raises PydanticCustomError for what can never make a name of its kind."""

    def __init__(self, text: str, kind: Kind) -> None:
        parts = _FIELD.split(text)
        self.text = text
        self._kind = kind
        self._texts = parts[::2]
        self.fields = [_field(part, kind) for part in parts[1::2]]
        self._name = lru_cache(KEPT)(self.name)
        self._check()

    @property
    def fixed(self) -> bool:
        """Whether the name is the same for every event, so that events need not be read."""
        return not self.fields

    @property
    def literal(self) -> str:
        """The text around the fields."""
        return "".join(self._texts)

    def render(self, fields: Fields) -> str:
        """Give the name for an event."""
        accepted = _value(fields, ACCEPTED)
        return self._name(*[field.of(_value(fields, field.path), accepted) for field in self.fields])

    def name(self, *values: str) -> str:
        """Give the name that these values of the fields make."""
        clean = [self._kind.unclean.sub("_", value) for value in values]
        name = self._texts[0] + "".join(
            value + text for value, text in zip(clean, self._texts[1:], strict=True)
        )
        if _length(name) <= LONGEST and clean == list(values):
            return name
        whole = json.dumps(values).encode()
        suffix = "#" + hashlib.blake2b(whole, digest_size=_SUFFIX_BYTES).hexdigest()
        return _cut(name, LONGEST - len(suffix)) + suffix

    def _check(self) -> None:
        fixed = self.literal
        longest = LONGEST_TEXT if self.fields else LONGEST
        if not self.text:
            raise misfit("expected a name, not an empty text")
        if "{{" in fixed or "}}" in fixed:
            raise misfit("a field is not closed", f"write {self._kind.example}")
        if not self._kind.text.fullmatch(fixed):
            refused = next(sign for sign in fixed if not self._kind.text.fullmatch(sign))
            raise misfit(f"CloudWatch Logs takes no {refused!r} in this name", _TAKEN[self._kind])
        if _length(fixed) > longest:
            raise misfit(f"its text is longer than {longest} characters")
        if self._kind is GROUP:
            self._check_prefix()

    def _check_prefix(self) -> None:
        prefix = self._texts[0]
        if prefix.startswith("aws/") or (self.fields and prefix in {"a", "aw", "aws"}):
            raise misfit("names that begin with aws/ are reserved by AWS", "/aws/ is free")
        if not prefix:
            hint = f"begin with fixed text, which no event can change: {self._kind.example}"
            raise misfit("events alone would decide over the log group", hint)


class Places:
    """Gives the names of log group and stream that an event goes to."""

    def __init__(self, group: Template, stream: Template) -> None:
        self._group, self._stream = group, stream
        fields = (*group.fields, *stream.fields)
        self._dates = any(field.date for field in fields)
        view = FieldAccess(
            [*(field.path for field in fields), *([ACCEPTED] if self._dates else [])], leaf=str
        )
        self._decode = view.decode
        self._read = [(view.reader(field.path), field) for field in fields]
        self._accepted = view.reader(ACCEPTED) if self._dates else lambda _: ""
        self._named = lru_cache(KEPT)(self._of_values)

    def of(self, event: bytes) -> tuple[str, str]:
        """Read the event's fields: texts, as a rule; whatever else they are, the templates know what to make of it."""
        try:
            fields = self._decode(event)
        except REFUSED:
            whole = fields_of(event)
            return self._group.render(whole), self._stream.render(whole)
        if self._dates:
            accepted = self._accepted(fields) or ""
            return self._named(*[field.of(read(fields) or "", accepted) for read, field in self._read])
        return self._named(*[read(fields) or field.default for read, field in self._read])

    def _of_values(self, *values: str) -> tuple[str, str]:
        first = len(self._group.fields)
        return self._group.name(*values[:first]), self._stream.name(*values[first:])


_TAKEN: Final = {
    GROUP: "letters, digits and . - _ / # make a log group's name",
    STREAM: "every character but : and * and control characters can be in a log stream's name",
}


def fields_of(event: bytes) -> Fields:
    """Read the names of an event's fields, and nothing of their values; none when it is no JSON object."""
    try:
        return _decode_object(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _with_lone_surrogates(event)


def _with_lone_surrogates(event: bytes) -> Fields:
    """Read what msgspec does not: escapes of half a surrogate pair."""
    try:
        fields = json.loads(event)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(fields, dict):
        return {}
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in fields.items()}


def _field(text: str, kind: Kind) -> _Field:
    match = _PATH.fullmatch(text)
    path, date, default = (match[1], match[2] or "", (match[3] or "").strip()) if match else ("", "", "")
    if date and not FORMAT.fullmatch(date):
        _refuse(
            text,
            "that is no date",
            "%Y, %m, %d, %H, %j, %G and %V make one, with - _ . between: {{ eventTime:%Y-%m-%d }}",
        )
    if kind.unclean.search(default):
        _refuse(text, "its default holds what a field cannot bring into a name", "leave out / and #, too")
    try:
        return _Field(tuple(parse_path(path)), default or ABSENT, date)
    except PydanticCustomError:
        _refuse(
            text,
            "that is not the path of a field",
            """write {{ extra.items[0].sku:-default }} or {{ extra."a.b" }}""",
        )


def _refuse(text: str, why: str, hint: str) -> NoReturn:
    raise misfit(f"{{{{ {text} }}}}: {why}", hint)


def _value(fields: Fields, path: tuple[str | int, ...]) -> str:
    raw = fields.get(str(path[0]))
    try:
        for step in path[1:]:
            raw = _inside(raw, step)
        return _text(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def _inside(raw: msgspec.Raw | None, step: str | int) -> msgspec.Raw | None:
    start = bytes(raw)[:1] if raw is not None else b""
    if raw is not None and start == b"{" and isinstance(step, str):
        return _decode_object(raw).get(step)
    if raw is not None and start == b"[" and isinstance(step, int):
        items = _decode_list(raw)
        return items[step] if step < len(items) else None
    return None


def _text(raw: msgspec.Raw | None) -> str:
    """Give a scalar as text: a string's content, anything else as the event writes it."""
    written = bytes(raw).strip() if raw is not None else b""
    if written.startswith(b'"'):
        try:
            return str(_decode(written))
        except msgspec.DecodeError:
            return str(json.loads(written))  # it holds half a surrogate pair
    return "" if written.startswith((b"{", b"[", b"null")) else written.decode()


def _length(name: str) -> int:
    """Count as Java does, in UTF-16: the stricter reading of the limit."""
    return len(name) if name.isascii() else len(name.encode("utf-16-le", "surrogatepass")) // 2


def _cut(name: str, length: int) -> str:
    return name.encode("utf-16-le", "surrogatepass")[: 2 * length].decode("utf-16-le", "ignore")
