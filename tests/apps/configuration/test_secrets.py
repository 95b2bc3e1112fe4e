from pathlib import Path

from auditflow.apps.configuration.secrets import secret_source
from auditflow.config.model import SecretsConfig
from auditflow.secrets.aws_secrets_manager import AwsSecrets


def test_secrets_come_from_the_environment_unless_another_place_is_named(tmp_path: Path):
    environ = {"AUDITFLOW_TENANT_ACME_KEY": "of the environment"}
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "key").write_text("of the folder")
    folder = SecretsConfig.model_validate({"directory": tmp_path})
    assert secret_source(SecretsConfig(), environ).get("acme", "key") == "of the environment"
    assert secret_source(folder, environ).get("acme", "key") == "of the folder"
    aws = SecretsConfig.model_validate({"aws-secrets-manager": {}})
    assert isinstance(secret_source(aws, environ), AwsSecrets)
