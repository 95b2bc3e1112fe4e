"""The JSON Schema of the configuration, for editors: completion, descriptions, errors while typing.

As in loading, numbers and booleans may come as text, and ``${NAME}`` may stand for any value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from auditflow.config.model import Config
from auditflow.plugins import Catalogue, SinkEntry

_Schema = dict[str, Any]
_Replacements = Mapping[str, Callable[[_Schema], _Schema]]

_VARIABLE: Final = r"\$\{"
_AS_TEXT: Final = {
    "boolean": rf"^(true|false)$|{_VARIABLE}",
    "integer": rf"^[-+]?[0-9]+$|{_VARIABLE}",
    "number": rf"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|{_VARIABLE}",
}
_NAMED: Final = ("properties", "$defs")
"""Keywords whose value is a mapping of names to schemas."""
_NARROWING: Final = ("enum", "const", "pattern")
_SHOWN: Final[tuple[str, ...]] = ("title", "description", "default")


def schema(catalogue: Catalogue) -> _Schema:
    """Describe the configuration with these sinks and transformers, as JSON Schema, draft 2020-12."""
    definitions: _Schema = {}

    def one_of_the_sinks(node: _Schema) -> _Schema:
        own = {name: node["properties"][name] for name in node["properties"].keys() - {"name", "properties"}}
        sinks = [_sink(entry, definitions, own) for _, entry in sorted(catalogue.sinks.items())]
        return {"description": node.get("description", ""), "oneOf": sinks}

    document = _lenient(
        Config.model_json_schema(),
        {
            "SinkConfig": one_of_the_sinks,
            "FallbackConfig": one_of_the_sinks,
            "TransformerConfig": lambda node: _with_names(node, sorted(catalogue.transformers)),
        },
    )
    definitions = {**document.pop("$defs", {}), **_lenient_each(definitions, {})}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "$defs": definitions}


def _with_names(node: _Schema, names: list[str]) -> _Schema:
    name = {**node["properties"]["name"], "enum": names}
    return {**node, "properties": {**node["properties"], "name": name}}


def _sink(entry: SinkEntry, definitions: _Schema, own: _Schema) -> _Schema:
    """Describe a sink with its properties, and what the configuration says of any sink there."""
    model = entry.properties_model()
    if model is None:
        properties: _Schema = {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }
    else:
        properties = model.model_json_schema(ref_template=f"#/$defs/{entry.name}.{{model}}")
        for name, definition in properties.pop("$defs", {}).items():
            definitions[f"{entry.name}.{name}"] = definition
    return {
        "type": "object",
        "title": entry.name,
        "description": entry.description,
        "properties": {
            "name": {"const": entry.name, "description": entry.description},
            "properties": {**properties, "description": f"Properties of {entry.name}."},
            **own,
        },
        "required": ["name", "properties"] if properties.get("required") else ["name"],
        "additionalProperties": False,
    }


def _lenient(node: Any, replacements: _Replacements) -> Any:
    """Accept, wherever a value may stand, also its text and a variable; replace models by title."""
    if isinstance(node, list):
        return [_lenient(item, replacements) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("title") in replacements:
        node = replacements[node["title"]](node)
    node = {
        key: (_lenient_each if key in _NAMED else _lenient)(value, replacements)
        for key, value in node.items()
    }
    kind = node.get("type")
    if isinstance(kind, str) and kind in _AS_TEXT:
        return _either(node, _AS_TEXT[kind])
    if kind == "string":
        node["type"] = ["string", "number"]
    return _either(node, _VARIABLE) if any(key in node for key in _NARROWING) else node


def _lenient_each(schemas: _Schema, replacements: _Replacements) -> _Schema:
    return {name: _lenient(value, replacements) for name, value in schemas.items()}


def _either(node: _Schema, text_pattern: str) -> _Schema:
    """Keep what editors show in front of the alternatives."""
    shown = {key: node.pop(key) for key in _SHOWN if key in node}
    return {**shown, "anyOf": [node, {"type": "string", "pattern": text_pattern}]}
