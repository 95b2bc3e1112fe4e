"""Finds sinks and transformers: the folder is the registry.

Three sources, a later one wins over an earlier one of the same name: the modules in `auditflow/sinks` and
`auditflow/transformers`; installed packages, by the entry points `auditflow.sinks` and
`auditflow.transformers`; the modules in the folders `sinks/` and `transformers/` of the plugin directory.
Built-in modules are imported when first used, the others when discovered, so that a broken one is known at
once and stops nobody else. Names are only looked up among what was discovered: nothing is ever imported
because a request names it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import pkgutil
import re
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final, TypeVar

from auditflow import __version__, sinks, transformers
from auditflow.errors import (
    AuditFlowError,
    PluginBroken,
    PluginDirectoryMissing,
    PluginNotFound,
    did_you_mean,
)
from auditflow.secrets.references import Sealed
from auditflow.secrets.sink import SecretSink
from auditflow.secrets.sources import EnvironmentSecrets, SecretSource
from auditflow.settings import PropertyInfo, describe
from auditflow.sinks._base import Properties, Sink
from auditflow.sinks._module import ModuleSink, declared_properties, plain_properties, process_of
from auditflow.transformers._module import Transform, transform_of

BUILT_IN: Final = "built-in"
"""Origin of what ships with AuditFlow."""

SLOW_SECONDS: Final = 5.0
"""An import that takes longer is told in the log: nothing starts before it ends."""

NO_SECRETS: Final = EnvironmentSecrets({})

_log = logging.getLogger(__name__)
_NAME: Final = re.compile(r"[a-zA-Z0-9_]+")


class _Entry(ABC):
    """A plugin by name; its module is imported on first use."""

    kind: ClassVar[str]

    def __init__(self, name: str, origin: str, load: Callable[[], Any], package_version: str = "") -> None:
        self.name = name
        self.origin = origin
        self._load = load
        self._package_version = package_version

    @property
    def version(self) -> str:
        """What the plugin says its version is, else its package's; empty when neither says."""
        return str(getattr(self._plugin, "__version__", self._package_version))

    @property
    def description(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self._plugin) or "").partition("\n")[0]

    def check(self) -> None:
        """Import the plugin if that was not done yet. Raises PluginBroken when it cannot be used."""
        if not _NAME.fullmatch(self.name):
            raise self._broken("its name may hold letters, digits and underscores only")
        _ = self._implementation

    @cached_property
    def _plugin(self) -> Any:
        """Module, class or function that stands behind the name."""
        late = threading.Timer(SLOW_SECONDS, self._warn)
        late.start()
        try:
            return self._load()
        except AuditFlowError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(_last_line(error)) from error
        finally:
            late.cancel()

    def _warn(self) -> None:
        _log.warning(
            "the %s %s, from %s, is still being imported: does it wait?", self.kind, self.name, self.origin
        )

    @cached_property
    def _implementation(self) -> Any:
        try:
            return self._adapt(self._plugin)
        except TypeError as error:
            raise self._broken(str(error)) from error

    @abstractmethod
    def _adapt(self, plugin: Any) -> Any:
        """Find in the plugin what makes it one. TypeError says what is missing."""

    def _broken(self, reason: str) -> PluginBroken:
        return PluginBroken(kind=self.kind, name=self.name, origin=self.origin, reason=reason)


class SinkEntry(_Entry):
    """A sink by name: what it takes, and how to make one."""

    kind = "sink"

    def properties_model(self) -> type[Properties] | None:
        """Give the typed properties; None for a plain module, which takes text."""
        sink = self._implementation
        if not inspect.isclass(sink):
            return None
        model: type[Properties] = getattr(sink, "Properties", None) or sys.modules[sink.__module__].Properties
        return model

    def properties(self) -> list[PropertyInfo]:
        """Describe every property, for people: those that have to be given first."""
        model = self.properties_model()
        if model is not None:
            return sorted(describe(model), key=lambda each: not each.required)
        return list(declared_properties(getattr(self._plugin, "PROPERTIES", None)))

    def parse(self, given: Any) -> Properties | dict[str, str]:
        """Check properties as they were written, offline. Raises pydantic.ValidationError with all faults."""
        model = self.properties_model()
        return plain_properties(given) if model is None else model.model_validate(given)

    def create(
        self, properties: Properties | Mapping[str, str] | Sealed, secrets: SecretSource = NO_SECRETS
    ) -> Sink[Any]:
        """Make the sink, without I/O, from what `parse` gave; what refers to secrets gets them from `secrets`."""
        if isinstance(properties, Sealed):
            return SecretSink(self.name, properties, secrets, self.parse, self.create)
        if self.properties_model() is None:
            return ModuleSink(self.name, self._implementation, properties)  # type: ignore[arg-type] # then it is a dict
        sink: Sink[Any] = self._implementation(properties)
        return sink

    def _adapt(self, plugin: Any) -> Any:
        return _sink_class(plugin) or process_of(plugin)


class TransformerEntry(_Entry):
    """A transformer by name."""

    kind = "transformer"

    @property
    def identity(self) -> bool:
        """Whether events pass through untouched, so that they need not be decoded."""
        return self.name == "zero" and self.origin == BUILT_IN

    def function(self) -> Transform:
        """Give the function of event and properties that makes a dict, a list of dicts, or None."""
        transform: Transform = self._implementation
        return transform

    def _adapt(self, plugin: Any) -> Any:
        return transform_of(plugin)


E_ = TypeVar("E_", bound=_Entry)


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that was found and cannot be used."""

    kind: str
    name: str
    origin: str
    reason: str


@dataclass(slots=True)
class Catalogue:
    """The plugins that were discovered, by name."""

    sinks: dict[str, SinkEntry] = field(default_factory=dict)
    transformers: dict[str, TransformerEntry] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def get_sink(self, name: str) -> SinkEntry:
        """Look a sink up. Raises PluginNotFound with a suggestion, PluginBroken when it could not be loaded."""
        return self._get(self.sinks, "sink", name)

    def get_transformer(self, name: str) -> TransformerEntry:
        """Look a transformer up. Raises as `get_sink` does."""
        return self._get(self.transformers, "transformer", name)

    def add(self, entry: _Entry) -> None:
        """Take over a plugin that can be used, in place of an earlier one of the same name."""
        if entry.origin == BUILT_IN or self._usable(entry):
            self._entries(entry)[entry.name] = entry

    def check_all(self) -> None:
        """Import the built-in plugins too; one that cannot be used moves to `broken`."""
        for entry in [*self.sinks.values(), *self.transformers.values()]:
            if not self._usable(entry):
                del self._entries(entry)[entry.name]

    def _entries(self, entry: _Entry) -> dict[str, Any]:
        return self.sinks if isinstance(entry, SinkEntry) else self.transformers

    def _get(self, entries: dict[str, E_], kind: str, name: str) -> E_:
        if name in entries:
            return entries[name]
        for broken in self.broken:
            if (broken.kind, broken.name) == (kind, name):
                raise PluginBroken(kind=kind, name=name, origin=broken.origin, reason=broken.reason)
        known = f"Known {kind}s: {', '.join(sorted(entries))}."
        raise PluginNotFound(
            kind=kind, name=name, suggestion=f"{did_you_mean(name, entries)} {known}".strip()
        )

    def _usable(self, entry: _Entry) -> bool:
        try:
            entry.check()
        except AuditFlowError as error:
            reason = str(error.facts.get("reason", error))
            self.broken.append(Broken(entry.kind, entry.name, entry.origin, reason))
            return False
        return True


def discover(directory: Path | None = None) -> Catalogue:
    """Find every plugin. Raises PluginDirectoryMissing; a broken plugin is an item of the catalogue."""
    if directory is not None and not directory.is_dir():
        raise PluginDirectoryMissing(path=directory)
    catalogue = Catalogue()
    for kind, package in ((SinkEntry, sinks), (TransformerEntry, transformers)):
        for entry in (
            *_built_in(kind, package),
            *_installed(kind, package),
            *_dropped_in(kind, package, directory),
        ):
            catalogue.add(entry)
    for stray in sorted(directory.glob("[!_]*.py")) if directory else ():
        reason = "it must lie in the folder sinks/ or transformers/ beside it"
        catalogue.broken.append(Broken("plugin", stray.stem, str(stray), reason))
    return catalogue


def _built_in(kind: type[_Entry], package: ModuleType) -> Iterator[_Entry]:
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            load = partial(importlib.import_module, f"{package.__name__}.{module.name}")
            yield kind(module.name, BUILT_IN, load, __version__)


def _installed(kind: type[_Entry], package: ModuleType) -> Iterator[_Entry]:
    for point in sorted(metadata.entry_points(group=package.__name__), key=lambda point: point.name):
        origin = f"package {point.dist.name}" if point.dist else point.value
        yield kind(point.name, origin, point.load, point.dist.version if point.dist else "")


def _dropped_in(kind: type[_Entry], package: ModuleType, directory: Path | None) -> Iterator[_Entry]:
    folder = directory / package.__name__.rpartition(".")[2] if directory else None
    if folder is None or not folder.is_dir():
        return
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # a module may import its neighbours; nothing installed is shadowed
    for file in sorted(folder.glob("[!_]*.py")):
        yield kind(
            file.stem, str(file), partial(_import_file, file, f"auditflow_plugins.{folder.name}.{file.stem}")
        )


def _import_file(file: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _sink_class(plugin: Any) -> type[Sink[Any]] | None:
    candidates = list(vars(plugin).values()) if inspect.ismodule(plugin) else [plugin]
    for candidate in candidates:
        if not inspect.isclass(candidate) or not issubclass(candidate, Sink) or inspect.isabstract(candidate):
            continue
        if candidate is plugin or _belongs(candidate.__module__, plugin.__name__):
            return candidate
    return None


def _belongs(module: str, plugin: str) -> bool:
    """Tell whether a class was made in the plugin: a file, or a package of files."""
    return module == plugin or module.startswith(f"{plugin}.")


def _last_line(error: BaseException) -> str:
    """Give the last line of the traceback; for a syntax error with file and line in front."""
    last = traceback.format_exception_only(error)[-1].strip()
    return f"{error.filename}:{error.lineno}: {last}" if isinstance(error, SyntaxError) else last
