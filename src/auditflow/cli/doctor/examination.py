"""Examines pipelines: whether their secrets are there, and their way to CloudWatch Logs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from auditflow.cli._shared.configuration import deliveries
from auditflow.cli.doctor.cloudwatch import Step, steps
from auditflow.config import SinkChoice
from auditflow.errors import AuditFlowError
from auditflow.plugins import Catalogue
from auditflow.secrets.references import Sealed, without
from auditflow.secrets.sink import secrets_of, unsealed
from auditflow.secrets.sources import SecretSource
from auditflow.sinks.aws_cloudwatch_sink.policy import few
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchSink

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Doctor:
    """What it takes to examine sinks."""

    catalogue: Catalogue
    secrets: SecretSource
    write: bool
    """Whether a test event is put through the sinks themselves."""

    async def examine(self, sinks: Iterable[tuple[str, SinkChoice]]) -> list[Found]:
        """Examine sinks one after the other, given with the names of their pipelines; what pipelines share, once."""
        known: list[tuple[SinkChoice, Found]] = []
        found = []
        for pipeline, sink in sinks:
            if not isinstance(sink.properties, CloudWatchProperties | Sealed):
                continue
            one = next((one for other, one in known if _key(other) == _key(sink)), None)
            if one is None:
                one = await self._examined(pipeline, sink)
                known.append((sink, one))
            found.append({"name": pipeline} | one)
        return found

    async def _examined(self, pipeline: str, sink: SinkChoice) -> Found:
        properties, secrets, first = sink.properties, {}, []
        if isinstance(sealed := sink.properties, Sealed):
            try:
                secrets = secrets_of(sealed, self.secrets)
                properties = unsealed(sink.name, sealed, secrets, self.catalogue.get_sink(sink.name).parse)
            except AuditFlowError as error:
                return _told(sink.name, [Step("secrets", "failed", str(error), error.hint)])
            first = [Step("secrets", "ok", f"{', '.join(secrets)} of tenant {sealed.tenant}")]
        for delivery in deliveries([(pipeline, properties)]):
            taken = [step async for step in steps(delivery, write=self.write)]
            return _told(CloudWatchSink(delivery.properties).destination, first + taken, secrets)
        return _told(sink.name, first)


def _key(sink: SinkChoice) -> tuple[str, Any]:
    """Tell which sinks are one destination."""
    return sink.name, sink.properties


def _told(destination: str, steps: Iterable[Step], secrets: Mapping[str, str] | None = None) -> Found:
    hidden = (secrets or {}).values()
    told = [{name: without(text, hidden) for name, text in asdict(step).items()} for step in steps]
    return {"destination": without(destination, hidden), "steps": told}


def is_well(found: list[Found]) -> bool:
    """Tell whether no step has failed."""
    return all(step["status"] != "failed" for pipeline in found for step in pipeline["steps"])


def as_text(found: list[Found]) -> str:
    """Write findings for people: pipelines that share them together, and what is well of tenants in a line each."""
    shared: dict[str, list[Found]] = {}
    for one in found:
        shared.setdefault(repr((one["destination"], one["steps"])), []).append(one)
    lines: list[str] = []
    for those in shared.values():
        names, taken = [one["name"] for one in those], those[0]["steps"]
        head = f"{few(names)}, {those[0]['destination']}"
        if any("/" in name for name in names) and is_well([{"steps": taken}]):
            lines += ["", f"{head}: {', '.join(_briefly(taken))}"]
        else:
            lines += ["", head, *_in_full(taken)]
    return "\n".join(lines[1:])


def _briefly(taken: Iterable[Found]) -> Iterator[str]:
    return (f"{step['name']} {step['status']}" for step in taken)


def _in_full(taken: Iterable[Found]) -> Iterator[str]:
    for step in taken:
        yield f"  {step['status']:<8} {step['name']:<12} {step['said']}".rstrip()
        if step["hint"]:
            yield f"  {'':<8} {'':<12} hint: {step['hint']}"
