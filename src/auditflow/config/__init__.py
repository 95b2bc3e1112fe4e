"""Configuration: YAML files in, a checked and frozen `Config` out, or every problem with file, line and column.

``document`` reads YAML and remembers positions, ``interpolation`` fills in environment variables, ``model``
says what is allowed, ``validation`` checks one against the other, ``loader`` puts them together, ``tenants``
does so for each file of the tenants' folder, ``running`` says which pipelines that makes, ``schema`` tells editors. Nothing below this package reads YAML or
the environment. ``advice`` says what a sound configuration could do better.
"""

from auditflow.config.advice import advise
from auditflow.config.loader import load
from auditflow.config.model import (
    Config,
    PipelineConfig,
    SinkChoice,
    SinkConfig,
    TenantConfig,
    TransformerConfig,
)
from auditflow.config.running import Running, running
from auditflow.config.schema import schema
from auditflow.config.tenants.copies import TenantCopies
from auditflow.config.tenants.file import Terms
from auditflow.config.tenants.folder import TenantFolder, Tenants, load_tenants
from auditflow.errors import ConfigError, Problem

__all__ = [
    "Config",
    "ConfigError",
    "PipelineConfig",
    "Problem",
    "Running",
    "SinkChoice",
    "SinkConfig",
    "TenantConfig",
    "TenantCopies",
    "TenantFolder",
    "Tenants",
    "Terms",
    "TransformerConfig",
    "advise",
    "load",
    "load_tenants",
    "running",
    "schema",
]
