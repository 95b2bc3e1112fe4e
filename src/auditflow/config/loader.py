"""From files to a `Config`, or to all their problems at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from auditflow.config.document import Document, Where, read
from auditflow.config.model import Config, PipelineConfig, Surroundings
from auditflow.errors import ConfigError, Problem
from auditflow.plugins import Catalogue, discover
from auditflow.settings import SHORTEST_SECRET, Fault, faults

_PIECE = 6
"""Letters and digits in a row that a message and a value may not share."""


def load(
    paths: Path | Sequence[Path],
    environ: Mapping[str, str],
    catalogue: Catalogue | None = None,
    texts: Mapping[Path, bytes] | None = None,
) -> Config:
    """Read one configuration from one file or several; needs no network and no credentials.

    `texts` gives the content of files that are not to be read themselves.

    Several files add up: pipelines of all, every other section from one. Without a catalogue, plugins are
    discovered in `plugins.directory`. Raises ConfigError with all problems of all files.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    documents = [read(file, environ, (texts or {}).get(file)) for file in files]
    problems = [problem for document in documents for problem in document.problems]
    catalogue = catalogue or _discovered(documents, problems)
    parts = [_validated(document, catalogue, problems) for document in documents if document.data is not None]
    problems += _repeats(documents)
    if problems:
        raise ConfigError(problems=_in_order(problems, files))
    return _joined([part for part in parts if part is not None])


def _discovered(documents: list[Document], problems: list[Problem]) -> Catalogue:
    """Discover plugins where the files say. A folder that is not there is a problem."""
    where: Where = ("plugins", "directory")
    for document in documents:
        if where not in document.values or where in document.unfilled:
            continue
        directory = document.file.parent / str(_value(document, where))
        if directory.is_dir():
            return discover(directory)
        problems.append(document.problem(where, "there is no such folder", "create it, or correct the path"))
    return discover()


def _value(document: Document, where: Where) -> object:
    value = document.data
    for step in where:
        value = value[step]
    return value


def _validated(document: Document, catalogue: Catalogue, problems: list[Problem]) -> Config | None:
    try:
        return Config.model_validate(document.data, context=Surroundings(catalogue, document.file.parent))
    except ValidationError as error:
        for fault in faults(error):
            where = _in_file(document, fault.where)
            if fault.unknown or not any(place[: len(where)] == where for place in document.unfilled):
                problems.append(_problem(document, where, fault))
    return None


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


def _repeats(documents: list[Document]) -> Iterator[Problem]:
    """Find sections that several files give, and pipelines that share a name."""
    first: dict[object, tuple[Document, Where]] = {}
    for document in documents:
        for key, where, what in _unique_things(document):
            if key not in first:
                first[key] = (document, where)
                continue
            other = first[key][0].problem(first[key][1], "")
            yield document.problem(
                where, f"{what} first in {other.file}:{other.line}", "keep one, or rename one of the two"
            )


def _unique_things(document: Document) -> Iterator[tuple[object, Where, str]]:
    data = document.data if isinstance(document.data, dict) else {}
    for section in data:
        if section in Config.model_fields and section != "pipelines":
            yield section, (section,), "given twice,"
    pipelines = data.get("pipelines")
    for index, pipeline in enumerate(pipelines if isinstance(pipelines, list) else []):
        if isinstance(pipeline, dict) and isinstance(pipeline.get("name"), str | int | float):
            where: Where = ("pipelines", index, "name")
            if where not in document.unfilled:
                yield ("pipelines", str(pipeline["name"])), where, "another pipeline has this name,"


def _joined(parts: list[Config]) -> Config:
    sections = {name: getattr(part, name) for part in parts for name in part.model_fields_set}
    joined = Config().model_copy(update=sections)
    pipelines = tuple(_with_defaults(pipeline, joined) for part in parts for pipeline in part.pipelines)
    return joined.model_copy(update={"pipelines": pipelines})


def _with_defaults(pipeline: PipelineConfig, config: Config) -> PipelineConfig:
    """Give the pipeline with what its own delivery policy leaves out."""
    own = {name: getattr(pipeline.delivery, name) for name in pipeline.delivery.model_fields_set}
    return pipeline.model_copy(update={"delivery": config.delivery.model_copy(update=own)})


def _in_order(problems: list[Problem], files: list[Path]) -> list[Problem]:
    """Sort as a reader meets them; what an alias repeats is said once."""
    order = {str(file): index for index, file in enumerate(files)}
    once = {(p.file, p.line, p.column, p.message): p for p in reversed(problems)}
    return sorted(once.values(), key=lambda p: (order[p.file], p.line, p.column, _natural(p.path)))


def _natural(path: str) -> list[tuple[int, str]]:
    """Give a sort key in which `[10]` comes after `[9]`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path)]
