from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from auditflow.config import Config, ConfigError, Problem, load
from auditflow.plugins import Catalogue, discover


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return discover()


@pytest.fixture
def loaded(tmp_path: Path, catalogue: Catalogue) -> Callable[..., Config]:
    """Load YAML text as a file."""

    def loaded(text: str | bytes, environ: Mapping[str, str] | None = None) -> Config:
        file = tmp_path / "auditflow.yaml"
        file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return load(file, environ or {}, catalogue)

    return loaded


@pytest.fixture
def problems(loaded: Callable[..., Config]) -> Callable[..., list[Problem]]:
    """Load YAML text that cannot be loaded, and give why."""

    def problems(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[Problem]:
        with pytest.raises(ConfigError) as raised:
            loaded(text, environ)
        return raised.value.problems

    return problems
