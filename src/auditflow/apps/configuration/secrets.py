"""Where the secrets of tenants come from, as configured."""

from __future__ import annotations

from collections.abc import Mapping

from auditflow.config.model import SecretsConfig
from auditflow.secrets.aws_secrets_manager import AwsSecrets
from auditflow.secrets.sources import EnvironmentSecrets, FolderSecrets, SecretSource


def secret_source(config: SecretsConfig, environ: Mapping[str, str]) -> SecretSource:
    """Give the one place that the configuration names; without one, the environment."""
    if config.directory:
        return FolderSecrets(config.directory)
    if config.aws_secrets_manager:
        return AwsSecrets(config.aws_secrets_manager)
    return EnvironmentSecrets(environ)
