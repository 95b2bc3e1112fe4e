"""The tenants' folder: one file for each tenant, each judged by itself.

A file that is broken keeps what it said when it was last good. A file is read again only when it has changed.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from auditflow.config.loader import in_order
from auditflow.config.model import PipelineConfig, TenantConfig
from auditflow.config.tenants.claims import decided
from auditflow.config.tenants.copies import TenantCopies
from auditflow.config.tenants.file import Stamp, TenantFile, Terms, read_tenant
from auditflow.errors import Problem
from auditflow.outside_text import is_text

SUFFIXES: Final = (".yaml", ".yml")

_UNREADABLE: Final = (0, 0, 0, 0)
_NO_FILE: Final = (1, 0, 0, 0)
"""What is neither a file nor a link to one: it is never opened, for a pipe would block."""

_JUDGED: Final = b"-"
"""In the place of a digest: it need not be looked at again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants in force, and what is wrong with their files."""

    terms: Terms
    files: Mapping[str, TenantFile] = field(default_factory=dict)
    """By name of the file."""
    by_id: Mapping[str, TenantConfig] = field(default_factory=dict)
    """Those in force, also the disabled ones."""
    problems: tuple[Problem, ...] = ()
    """Of the files as they are now; what they said before stays in force, where there was anything."""

    def get(self, tenant_id: str) -> TenantConfig | None:
        """Give a tenant; None when there is none of this id."""
        return self.by_id.get(tenant_id)

    def pipelines(self) -> Iterator[tuple[str, PipelineConfig]]:
        """Give the enabled pipelines of the enabled tenants, each with its tenant's id."""
        for tenant_id, tenant in self.by_id.items():
            if tenant.enabled:
                yield from ((tenant_id, pipeline) for pipeline in tenant.pipelines if pipeline.enabled)


def load_tenants(directory: Path, terms: Terms, before: Tenants | None = None) -> Tenants:
    """Read the tenants of a folder, offline; what has not changed since `before` is taken from there.

    Never raises for what the folder holds: see `problems` of what it gives.
    """
    before = before or Tenants(terms)
    try:
        stamps = _stamps(directory)
    except OSError as error:
        message = f"the folder of the tenants cannot be read: {error.strerror or error}"
        return replace(before, problems=(Problem(str(directory), 1, 1, "", message),))
    return _loaded(directory, stamps, terms, before)


class TenantFolder:
    """The tenants of a folder, kept up to date. Methods block for as long as reading takes."""

    def __init__(self, directory: Path, terms: Terms, copies: TenantCopies | None = None) -> None:
        """Read them. A file that is broken goes on as its copy says."""
        self._directory = directory
        self._terms = terms
        self._copies = copies
        self.tenants = load_tenants(directory, terms, _copied(directory, terms, copies))
        """Those in force."""
        self._seen: Mapping[str, Stamp] = {}
        self._keep()
        self._tell(())

    def refresh(self) -> bool:
        """Look whether files have changed and read those that have; tell whether anything is different now.

        A change counts when the file has stood still since the last look, so that none is read half-written:
        two looks after it was made, at the latest. A look that finds nothing costs a stat for each file.
        """
        try:
            now = _stamps(self._directory)
        except OSError:
            return self._activate(load_tenants(self._directory, self._terms, self.tenants))
        files, seen = self.tenants.files, self._seen
        self._seen = now
        known = {name: file.stamp for name, file in files.items()}
        settled = {
            name: stamp
            for name in sorted(now.keys() | known.keys())
            if (stamp := (now if now.get(name) == seen.get(name) else known).get(name))
        }
        unread = self._incomplete() or not all(file.digest for file in files.values())
        if settled == known and not unread:
            return False
        return self._activate(_loaded(self._directory, settled, self._terms, self.tenants))

    def judge_by(self, terms: Terms) -> bool:
        """Judge every file again, by other terms; tell whether anything is different now."""
        self._terms = terms
        return self._activate(load_tenants(self._directory, terms, self.tenants))

    def _incomplete(self) -> bool:
        """Tell whether the folder itself could not be read the last time."""
        return any(problem.file == str(self._directory) for problem in self.tenants.problems)

    def _activate(self, tenants: Tenants) -> bool:
        old, self.tenants = self.tenants, tenants
        self._keep()
        self._tell(old.problems)
        return (old.by_id, old.problems) != (tenants.by_id, tenants.problems)

    def _tell(self, before: Collection[Problem]) -> None:
        """Log what is wrong with files, once, in one of the processes that read them."""
        if self._copies and not self._copies.writes:
            return
        for problem in self.tenants.problems:
            if problem not in before:
                _log.warning(
                    "%s\n    What this tenant's file said before stays in force, if there was anything.",
                    problem,
                )
        if before and not self.tenants.problems:
            _log.info("all files of the tenants are in order")

    def _keep(self) -> None:
        if self._copies and not self._incomplete():
            self._copies.keep(self.tenants.files.values())


def _stamps(directory: Path) -> dict[str, Stamp]:
    """Look at the files. What is hidden is no tenant's: editors' copies, and what Kubernetes links to."""
    with os.scandir(directory) as entries:
        found = {
            entry.name: _stamp(entry)
            for entry in entries
            if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".")
        }
    return dict(sorted(found.items()))


def _stamp(entry: os.DirEntry[str]) -> Stamp:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere; reading says it better
        return _UNREADABLE
    if not stat.S_ISREG(status.st_mode):
        return _NO_FILE
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _ignored(path: Path, stamp: Stamp) -> TenantFile | None:
    """Give what cannot be a tenant's file, with the reason; None for what may be one."""
    if not is_text(path.name):
        shown = Path(os.fsencode(path).decode(errors="backslashreplace"))
        problem = Problem(str(shown), 1, 1, "", "the file's name is not UTF-8", "rename it")
        return TenantFile(shown, stamp, _JUDGED, problems=(problem,))
    if stamp == _NO_FILE:
        problem = Problem(
            str(path), 1, 1, "", "this is no file, so it is ignored", "give what it is another name"
        )
        return TenantFile(path, stamp, _JUDGED, problems=(problem,))
    return None


def _copied(directory: Path, terms: Terms, copies: TenantCopies | None) -> Tenants | None:
    """Give the tenants of a folder as the copies of their files say."""
    if copies is None:
        return None
    try:
        stamps = _stamps(copies.folder)
    except OSError:  # there are none yet
        return None
    return _loaded(directory, stamps, terms, Tenants(terms), copies.folder)


def _loaded(
    directory: Path, stamps: Mapping[str, Stamp], terms: Terms, before: Tenants, copies: Path | None = None
) -> Tenants:
    old = before.files
    same = terms == before.terms
    files = []
    for name, stamp in stamps.items():
        before_it = old.get(name)
        if same and before_it and before_it.stamp == stamp and before_it.digest:
            files.append(before_it)
        elif ignored := _ignored(directory / name, stamp):
            files.append(ignored)
        else:
            copy = copies / name if copies else None
            files.append(read_tenant(directory / name, stamp, terms, before_it, same=same, copy=copy))
    files, clashes = decided(files, terms)
    problems = [*clashes, *(problem for file in files for problem in file.problems)]
    by_id = {file.active.tenant_id: file.active for file in files if file.active}
    ordered = in_order(problems, [file.path for file in files])
    return Tenants(terms, {file.path.name: file for file in files}, by_id, tuple(ordered))
