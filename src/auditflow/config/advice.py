"""What a sound configuration could do better. Advice never keeps anything from running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from auditflow.config.document import Document, Where, read
from auditflow.config.model import Config
from auditflow.errors import Problem
from auditflow.event.paths import parse_pattern, unreachable
from auditflow.sinks._base import Properties, Use

_WHOLE_TEXT: Final = frozenset("^$.*+?[(|\\")
"""An expression that has none of these is one word."""
_ALL_BUT: Final = frozenset({"neq", "notIn", "not_contains"})


def advise(config: Config, file: Path, environ: Mapping[str, str]) -> list[Problem]:
    """Ask the sinks of the configuration that was loaded from `file`; gives their advice in the file's order."""
    document = read(file, environ)
    uses = dict(_uses(config, document))
    kinds = dict.fromkeys(type(use.properties) for use in uses.values())
    given = [
        document.problem(where, advice.message, advice.hint, at_key=True)
        for kind in kinds
        for advice in kind.advice([use for use in uses.values() if type(use.properties) is kind])
        for where, use in uses.items()
        if use.pipeline == advice.pipeline
    ]
    given += [
        *_unreachable(config, document),
        *_surprising(config, document),
        *_no_pipelines(config, document),
    ]
    return sorted(given, key=lambda warning: (warning.line, warning.column))


def _no_pipelines(config: Config, document: Document) -> Iterator[Problem]:
    """Warn of a file that delivers nothing, unless it says so or leaves that to the tenants' files."""
    data = document.data if isinstance(document.data, dict) else {}
    if not config.pipelines and config.tenants is None and data.get("pipelines") != []:
        message = "there are no pipelines, so nothing is delivered"
        hint = "write the pipelines, or `pipelines: []` if that is meant"
        yield document.problem(("pipelines",), message, hint, at_key=True)


def _unreachable(config: Config, document: Document) -> Iterator[Problem]:
    """Warn of paths that no event has: what is to be redacted there is not."""
    paths: list[tuple[Where, str]] = [
        (("redaction", "rules", index, "field"), rule.field)
        for index, rule in enumerate(config.redaction.rules)
        if rule.field
    ]
    paths += [
        (("pipelines", index, "condition", "rules", number, "field"), rule.field)
        for index, pipeline in enumerate(config.pipelines)
        for number, rule in enumerate(pipeline.condition.rules if pipeline.condition else ())
    ]
    for where, path in paths:
        if reason := unreachable(parse_pattern(path)):
            yield document.problem(
                where, f"no event has the field {path}: {reason}", "correct the path, or leave it out"
            )


def _surprising(config: Config, document: Document) -> Iterator[Problem]:
    """Warn of rules that most often mean something else: a pattern as a search, and "all but X" without the field."""
    for index, pipeline in enumerate(config.pipelines):
        for number, rule in enumerate(pipeline.condition.rules if pipeline.condition else ()):
            where: Where = ("pipelines", index, "condition", "rules", number, "operator")
            if rule.operator == "regex" and not set(str(rule.value)) & _WHOLE_TEXT:
                message = "regex has to match the whole text, and this expression is one word"
                yield document.problem(where, message, "write `search` to find it anywhere, or `eq`")
            elif rule.operator in _ALL_BUT and "missing" not in rule.model_fields_set:
                message = f"{rule.operator} does not take events without the field {rule.field}"
                yield document.problem(
                    where, message, "write `missing: match` to take them, or `missing: fail`"
                )


def _uses(config: Config, document: Document) -> Iterator[tuple[Where, Use[Properties]]]:
    for index, pipeline in enumerate(config.pipelines):
        where: Where = ("pipelines", index, "sink")
        properties = pipeline.sink.properties
        if pipeline.enabled and isinstance(properties, Properties):
            inside = (*where, "properties")
            filled = frozenset(str(place[-1]) for place in document.filled if place[:-1] == inside)
            yield where, Use(pipeline.name, properties, filled)
