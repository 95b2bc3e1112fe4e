"""Renders the Helm chart, offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "auditflow"

Manifest = dict[str, Any]


class Manifests(list[Manifest]):
    """What a chart renders to."""

    def get(self, kind: str, name: str) -> Manifest:
        (found,) = [one for one in self if (one["kind"], one["metadata"]["name"]) == (kind, name)]
        return found

    def of(self, kind: str) -> list[Manifest]:
        return [one for one in self if one["kind"] == kind]

    def pod(self, role: str) -> dict[str, Any]:
        return self.get("Deployment", f"auditflow-{role}")["spec"]["template"]["spec"]

    def checksum(self, role: str) -> str:
        template = self.get("Deployment", f"auditflow-{role}")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    def config(self, role: str) -> str:
        return self.get("ConfigMap", f"auditflow-{role}")["data"]["auditflow.yaml"]


Render = Callable[..., Manifests]


@pytest.fixture(scope="session")
def render_texts() -> Callable[..., dict[str, str]]:
    """Give a function that renders the chart with some values, as texts by template."""
    chart = helm_python.Chart.load(CHART)

    def render(values: dict[str, Any] | None = None, name: str = "auditflow") -> dict[str, str]:
        return chart.render(values or {}, name=name, namespace="labs64io")

    return render


@pytest.fixture(scope="session")
def render(render_texts) -> Render:
    """Give a function that renders the chart with some values."""

    def render(values: dict[str, Any] | None = None, name: str = "auditflow") -> Manifests:
        texts = [text for path, text in render_texts(values, name).items() if not path.endswith("NOTES.txt")]
        return Manifests(one for text in texts for one in yaml.safe_load_all(text) if one)

    return render
