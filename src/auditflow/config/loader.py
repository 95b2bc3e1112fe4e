"""From files to a `Config`, or to all their problems at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from auditflow.config.document import Document, Where, read
from auditflow.config.model import Config, PipelineConfig, Surroundings
from auditflow.config.validation import validated
from auditflow.errors import ConfigError, Problem
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.plugins import Catalogue, discover


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
    parts = [
        validated(document, Config, Surroundings(catalogue, document.file.parent), problems)
        for document in documents
    ]
    problems += _repeated_sections(documents)
    problems += repeated_pipelines(documents)
    if problems:
        raise ConfigError(problems=in_order(problems, files))
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


def _repeated_sections(documents: list[Document]) -> Iterator[Problem]:
    """Find sections that several files give."""
    sections = [
        (section, document, (section,))
        for document in documents
        for section in (document.data if isinstance(document.data, dict) else ())
        if section in Config.model_fields and section != "pipelines"
    ]
    return _repeats(sections, "given twice,")


def repeated_pipelines(documents: Iterable[Document]) -> Iterator[Problem]:
    """Find pipelines that share a name."""
    named = [each for document in documents for each in _named_pipelines(document)]
    return _repeats(named, "another pipeline has this name,")


def _named_pipelines(document: Document) -> Iterator[tuple[str, Document, Where]]:
    pipelines = document.data.get("pipelines") if isinstance(document.data, dict) else None
    for index, pipeline in enumerate(pipelines if isinstance(pipelines, list) else []):
        if isinstance(pipeline, dict) and isinstance(pipeline.get("name"), str | int | float):
            where: Where = ("pipelines", index, "name")
            if where not in document.unfilled:
                yield str(pipeline["name"]), document, where


def _repeats(things: Iterable[tuple[str, Document, Where]], what: str) -> Iterator[Problem]:
    first: dict[str, tuple[Document, Where]] = {}
    for thing, document, where in things:
        if thing not in first:
            first[thing] = (document, where)
            continue
        other = first[thing][0].problem(first[thing][1], "")
        yield document.problem(
            where, f"{what} first in {other.file}:{other.line}", "keep one, or rename one of the two"
        )


def _joined(parts: list[Config]) -> Config:
    sections = {name: getattr(part, name) for part in parts for name in part.model_fields_set}
    joined = Config().model_copy(update=sections)
    pipelines = [pipeline for part in parts for pipeline in with_defaults(part.pipelines, joined.delivery)]
    return joined.model_copy(update={"pipelines": tuple(pipelines)})


def with_defaults(
    pipelines: Iterable[PipelineConfig], defaults: DeliveryPolicy
) -> tuple[PipelineConfig, ...]:
    """Give the pipelines with what their own delivery policies leave out."""
    return tuple(
        pipeline.model_copy(update={"delivery": joined_policy(pipeline.delivery, defaults)})
        for pipeline in pipelines
    )


def joined_policy(own: DeliveryPolicy, defaults: DeliveryPolicy) -> DeliveryPolicy:
    """Give a policy with what it leaves out as in `defaults`."""
    return defaults.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def in_order(problems: Iterable[Problem], files: Sequence[Path]) -> list[Problem]:
    """Sort as a reader meets them; what an alias repeats is said once."""
    order = {str(file): index for index, file in enumerate(files)}
    once = {(p.file, p.line, p.column, p.message): p for p in reversed([*problems])}
    return sorted(once.values(), key=lambda p: (order[p.file], p.line, p.column, _natural(p.path)))


def _natural(path: str) -> list[tuple[int, str]]:
    """Give a sort key in which `[10]` comes after `[9]`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path)]
