"""How a module with `transform(event, properties)` or `transform(input_data)` becomes a transformer."""
# Tested in tests/pipelines/decide/test_decision.py.

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Transform = Callable[[dict[str, Any], dict[str, Any]], Any]


def transform_of(plugin: Any) -> Transform:
    """Give a function of event and properties for a module, or a function. TypeError says what is missing."""
    transform: Callable[..., Any] | None = (
        getattr(plugin, "transform", None) if inspect.ismodule(plugin) else plugin
    )
    if not callable(transform) or inspect.isclass(transform):
        raise TypeError("it has no function transform(input_data) or transform(event, properties)")
    if inspect.iscoroutinefunction(transform):
        raise TypeError("transform must be a plain function, not async")
    match _arguments(transform):
        case 1:
            return lambda event, _properties: transform(event)
        case 2:
            return transform
    raise TypeError("transform must take input_data, or event and properties")


def _arguments(function: Callable[..., Any]) -> int:
    """Count the arguments to pass: those without default; `properties` counts also with one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return 1  # written in C, without a signature to look at
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if not positional:
        return int(any(p.kind is p.VAR_POSITIONAL for p in parameters))
    needed = sum(p.default is p.empty for p in positional)
    second = positional[1].name if len(positional) > 1 else ""
    return max(needed, 2 if second == "properties" else 1)
