"""Drop-in sinks: how a plain module with `process(event_data, properties) -> dict` becomes a sink."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from pydantic import BeforeValidator, TypeAdapter

from auditflow.event.model import decode
from auditflow.masking import hide
from auditflow.plugin_call import in_own_thread, is_never, text_of
from auditflow.settings import SHORTEST_SECRET, PropertyInfo, misfit
from auditflow.sinks._base import BatchLimits, Outcome, Sink, Verdict

_SECRET_NAME: Final = re.compile(
    r"pass(word|phrase|wd)|secret|token|(api|account|access|private)[-_]?key|credential|connection[-_]string",
    re.IGNORECASE,
)
"""Names of drop-in properties that are taken for secrets, since a plain module cannot say so."""

_PLAIN_HINT: Final = (
    "Make `process` a plain function that does its work before it returns: no `async`, no `yield`."
)


class ModuleSink(Sink[Any]):
    """Calls a plain function once per event, in a worker thread; a batch is one call of `deliver`.

    ValueError means that the event will never be taken; whatever else the function raises, that it is tried again.
    """

    def __init__(self, name: str, process: Callable[..., Any], properties: Mapping[str, str]) -> None:
        super().__init__(dict(properties))
        hide(value for key, value in properties.items() if _SECRET_NAME.search(key))
        self._name = name
        self._process = process
        self._closed = False

    @property
    def destination(self) -> str:
        """The plugin's name: its properties have no meaning to us."""
        return self._name

    @property
    def limits(self) -> BatchLimits:
        """Small batches: the events of one go one after the other, at the function's pace."""
        return BatchLimits(events=100)

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Process the events in order; one that fails does not keep the next from being tried."""
        return await in_own_thread(lambda: [self._outcome(event) for event in events])

    async def close(self) -> None:
        """Let a batch that is still under way end after its current event."""
        self._closed = True

    def _outcome(self, event: bytes) -> Outcome:
        if self._closed:
            return Outcome(
                Verdict.RETRY, code="CLOSED", reason="the sink was closed before this event's turn"
            )
        try:
            result = self._process(decode(event), dict(self.properties))
        except BaseException as error:  # noqa: BLE001 - plugin code may raise anything
            reason = self._without_secrets(text_of(error))
            verdict = Verdict.REJECTED if is_never(error) else Verdict.RETRY
            return Outcome(verdict, code=type(error).__name__, reason=reason)
        if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
            close = getattr(result, "close", None)
            if close is not None and not inspect.isasyncgen(result):
                close()
            kind = type(result).__name__
            return Outcome(
                Verdict.BLOCKED, "NOT_RUN", f"process gave a {kind}, so that nothing ran", _PLAIN_HINT
            )
        return Outcome(Verdict.DELIVERED, where=result if isinstance(result, dict) else {})

    def _without_secrets(self, reason: str) -> str:
        for name, value in self.properties.items():
            if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET:
                reason = reason.replace(value, "***")
        return reason


def process_of(plugin: Any) -> Callable[..., Any]:
    """Give the function of a module, or the function itself. TypeError says what is missing."""
    process: Callable[..., Any] | None = (
        getattr(plugin, "process", None) if inspect.ismodule(plugin) else plugin
    )
    if not callable(process) or inspect.isclass(process):
        raise TypeError("it has no function process(event_data, properties)")
    if inspect.iscoroutinefunction(process):
        raise TypeError("process must be a plain function, not async")
    try:
        inspect.signature(process).bind({}, {})
    except TypeError:
        raise TypeError("process must take two arguments, event_data and properties") from None
    except ValueError:
        pass  # written in C, without a signature to look at
    return process


def plain_properties(given: Any) -> dict[str, str]:
    """Turn properties as they were written into text. Raises pydantic.ValidationError for what is not text."""
    return _PLAIN.validate_python(given)


def declared_properties(declared: Any) -> Iterator[PropertyInfo]:
    """Read a module's `PROPERTIES`: names with a description or details, or a list of either."""
    if isinstance(declared, (list, tuple)):
        items = [(item.get("name"), item) if isinstance(item, dict) else (item, "") for item in declared]
    else:
        items = list(declared.items()) if isinstance(declared, dict) else []
    for name, about in items:
        details = about if isinstance(about, dict) else {"description": about}
        default = details.get("default")
        yield PropertyInfo(
            name=str(name),
            type=str(details.get("type", "text")),
            default="" if default is None else _text(default),
            required=bool(details.get("required", False)),
            secret=bool(details.get("secret", _SECRET_NAME.search(str(name)))),
            description=str(details.get("description", "")),
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _scalar_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise misfit(
            "expected text", "a drop-in sink takes text only: write JSON in quotes if it expects that"
        )
    return _text(value)


def _without_nulls(given: Any) -> Any:
    return {k: v for k, v in given.items() if v is not None} if isinstance(given, dict) else given


_PLAIN: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(
    Annotated[dict[str, Annotated[str, BeforeValidator(_scalar_text)]], BeforeValidator(_without_nulls)]
)
