"""What all settings have in common: how they are written, refused with a hint, and described to people."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
import types
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from auditflow import units
from auditflow.errors import did_you_mean

SHORTEST_SECRET: Final = 4
"""Shorter texts are not searched for in messages: they occur in ordinary words."""


class Settings(BaseModel):
    """Base of every model that people fill in.

    Names are kebab-case; numbers and booleans may come as strings; what is unknown is refused with the name
    that was probably meant; null says the same as leaving the name out.
    """

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"),
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        defer_build=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the hints around everything else, also around the validators of subclasses."""
        return core_schema.no_info_wrap_validator_function(cls._refuse_with_hints, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe each property with the docstring below it."""
        given = handler(schema)
        properties = handler.resolve_ref_schema(given).get("properties", {})
        texts = docstrings(cls)
        for name, field in cls.model_fields.items():
            if name in texts and (field.alias or name) in properties:
                properties[field.alias or name]["description"] = texts[name]
        return given

    @classmethod
    def _refuse_with_hints(cls, given: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        known = [str(field.alias or name) for name, field in cls.model_fields.items()]
        if isinstance(given, dict):
            given = {key: value for key, value in given.items() if value is not None or key not in known}
        try:
            return handler(given)
        except ValidationError as error:
            raise _with_hints(error, known, cls._secrets(given)) from None

    @classmethod
    def _secrets(cls, given: Any) -> list[str]:
        """Give the texts that were given for secret fields."""
        fields = [name for name, field in cls.model_fields.items() if SecretStr in _parts(field.annotation)]
        values = (
            [given.get(cls.model_fields[name].alias) for name in fields] if isinstance(given, dict) else []
        )
        return [value for value in values if isinstance(value, str) and len(value) >= SHORTEST_SECRET]


def misfit(message: str, hint: str = "") -> PydanticCustomError:
    """Make the error that a validator raises to give a hint along with its message."""
    return PydanticCustomError("misfit", message, {"hint": hint})


def _located(path: Path, info: ValidationInfo) -> Path:
    if path.parts[:1] and path.parts[0].startswith("~"):
        raise misfit("~ is not expanded", "write the whole path, or ${HOME} in place of ~")
    folder = getattr(info.context, "folder", None)
    return path if folder is None else folder / path


LocatedPath = Annotated[Path, AfterValidator(_located)]
"""A path; a relative one starts at the `folder` of the validation context, which is that of the file that names it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing a model does not accept, in words for people; never holds the value itself."""

    where: tuple[int | str, ...]
    """Keys and indexes from the model down to the value."""
    message: str
    hint: str
    unknown: bool
    """It is the key that is not accepted, whatever its value."""


def faults(error: ValidationError) -> list[Fault]:
    """Say everything that is wrong, in the order of the model's fields."""
    return [
        Fault(
            where=details["loc"],
            message=_in_our_words(details),
            hint=str(details.get("ctx", {}).get("hint", "")),
            unknown=details["type"] == _UNKNOWN,
        )
        for details in error.errors(include_url=False, include_input=False)
    ]


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """What people can be told about one property."""

    name: str
    type: str
    default: str
    required: bool
    secret: bool
    description: str


@cache
def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Give the docstring below each property, read from the source: at start nobody needs them."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not (issubclass(each, BaseModel) and each.__annotations__):
            continue
        with suppress(OSError, SyntaxError):  # made at run time: there is no source
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            body = tree.body if isinstance(tree, ast.ClassDef) else []
            found |= {
                node.target.id: inspect.cleandoc(text.value.value)
                for node, text in pairwise(body)
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                if isinstance(text.value.value, str)
            }
    return found


def describe(model: type[BaseModel]) -> list[PropertyInfo]:
    """Describe every property of a model, in its order."""
    texts = docstrings(model)
    return [
        PropertyInfo(
            name=str(field.alias or name),
            type=_type_text(field.annotation, tuple(field.metadata)),
            default="" if field.is_required() else _default_text(field),
            required=field.is_required(),
            secret=SecretStr in _parts(field.annotation),
            description=" ".join((field.description or texts.get(name, "")).split()),
        )
        for name, field in model.model_fields.items()
    ]


_UNKNOWN: Final = "unknown_property"

_WORDS: Final = {
    "missing": "required, but missing",
    "model_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "extra_forbidden": "unknown property",
}


def _in_our_words(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Value error, ")
    message = message.replace("Input should", "must").replace("String should", "must")
    return _WORDS.get(details["type"], message)


def _with_hints(error: ValidationError, known: list[str], secrets: list[str]) -> ValidationError:
    """Rebuild the error: this model's unknown names get a hint, and no message repeats a secret."""
    return ValidationError.from_exception_data(
        error.title,
        [
            InitErrorDetails(type=_hinted(details, known, secrets), loc=details["loc"], input=None)
            for details in error.errors(include_url=False, include_input=False)
        ],
        hide_input=True,
    )


def _hinted(details: ErrorDetails, known: list[str], secrets: list[str]) -> PydanticCustomError:
    if details["type"] == "extra_forbidden" and len(details["loc"]) == 1:
        hint = did_you_mean(str(details["loc"][0]), known) or f"known here: {', '.join(known)}"
        return PydanticCustomError(_UNKNOWN, "unknown property", {"hint": hint})
    message = details["msg"]
    for secret in secrets:
        message = message.replace(secret, "***")
    return PydanticCustomError(details["type"], message, {"hint": details.get("ctx", {}).get("hint", "")})


def _parts(annotation: Any) -> Iterator[Any]:
    """Give the members of a union, or the annotation itself; None left out."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _parts(member)
    elif annotation is not types.NoneType:
        yield annotation


_NAMES: Final[dict[Any, str]] = {
    str: "text",
    SecretStr: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "list",
    tuple: "list",
    dict: "mapping",
}
_QUANTITIES: Final[dict[Any, str]] = {units.seconds: "duration", units.size: "size"}


def _type_text(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    for quantity in _quantities(metadata):
        return quantity
    members = list(_parts(annotation))
    if len(members) > 1:
        return " | ".join(dict.fromkeys(_type_text(member) for member in members))
    kind = members[0]
    if get_origin(kind) is Annotated:
        return _type_text(get_args(kind)[0], get_args(kind)[1:])
    if get_origin(kind) is Literal:
        return " | ".join(str(value) for value in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " | ".join(str(member.value) for member in kind)
    is_model = isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))
    return _NAMES.get(get_origin(kind) or kind, "mapping" if is_model else "text")


def _quantities(metadata: tuple[Any, ...]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, BeforeValidator) and item.func in _QUANTITIES:
            yield _QUANTITIES[item.func]


def _default_text(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None or isinstance(default, BaseModel):
        return ""
    match _type_text(field.annotation, tuple(field.metadata)):
        case "duration":
            return units.readable_duration(default)
        case "size":
            return units.readable_size(default)
    if isinstance(default, str):
        return default
    return json.dumps(default, default=str)
