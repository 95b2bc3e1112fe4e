"""The configuration under torture: pipelines of the platform and of two tenants, and what changes in it meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def _sink(group: str, stream: str = "events", more: str = "") -> str:
    properties = f"{{log-group: /torture/{group}, log-stream: '{stream}', flush-interval: 100ms}}"
    return f"{{name: aws_cloudwatch_sink, properties: {properties}{more}}}"


PIPELINES = {
    "plain": f"""\
  - name: plain
    sink: {_sink("plain")}
    delivery: {{max-in-flight: IN_FLIGHT}}
""",
    "spare": f"""\
  - name: spare
    sink: {_sink("spare", more=", fallback: " + _sink("fallback", more=", backfill: true"))}
    delivery: {{fallback-after: 1s, max-in-flight: IN_FLIGHT}}
""",
    "sampled": f"""\
  - name: sampled
    condition: {{rules: [{{field: extra.n, operator: lt, value: 50}}]}}
    sample: 0.5
    sink: {_sink("sampled")}
""",
}
"""Of events without a tenant."""
TENANTS = ("acme", "globex")
NAMES = (*PIPELINES, *(f"{tenant}/own" for tenant in TENANTS))
RENAMED = "renamed"
"""What `sampled` is called for a while."""
CHANGES = {"disabled": "plain", "removed": "spare", "renamed": "sampled", "tenant": "acme/own"}
"""Change → the pipeline that is away meanwhile."""


class Configuration:
    """The files of a run. Each change is written whole, as an editor or Kubernetes does."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "auditflow.yaml"
        self._tenants = folder / "tenants"
        self._tenants.mkdir()
        self._changes: Counter[str] = Counter()
        self._in_flight: object = 4
        self.write()

    def in_flight(self, value: object) -> None:
        """Let pipelines have so many requests at once; what is no number is a broken file."""
        self._in_flight = value
        self.write()

    def begin(self, change: str) -> None:
        """Take a pipeline away."""
        self._changes[change] += 1
        self.write()

    def end(self, change: str) -> bool:
        """Bring a pipeline back, unless another fault still keeps it away; tell whether it is back."""
        self._changes[change] -= 1
        self.write()
        return not self._changes[change]

    def write(self) -> None:
        for tenant in TENANTS:
            file = self._tenants / f"{tenant}.yaml"
            if tenant == "acme" and self._changes["tenant"]:
                file.unlink(missing_ok=True)
            else:
                sink = _sink(tenant, "{{ tenantId }}")
                self._replace(file, f"tenantId: {tenant}\npipelines:\n  - {{name: own, sink: {sink}}}\n")
        pipelines = "".join(map(self._pipeline, PIPELINES)).replace("IN_FLIGHT", str(self._in_flight))
        self._replace(self.file, f"tenants: {{directory: tenants/}}\npipelines:\n{pipelines}")

    def _pipeline(self, name: str) -> str:
        text = PIPELINES[name]
        if name == "spare" and self._changes["removed"]:
            return ""
        if name == "plain" and self._changes["disabled"]:
            return text + "    enabled: false\n"
        if name == "sampled" and self._changes["renamed"]:
            return text.replace("sampled", RENAMED)
        return text

    def _replace(self, file: Path, text: str) -> None:
        draft = self.file.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(file)
