"""Secrets Manager as moto has it."""

import json

import boto3
import pytest

from auditflow.errors import SecretMissing, SecretsUnavailable, SecretUnreadable
from auditflow.secrets.aws_secrets_manager import AwsSecrets, AwsSecretsManager

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moto():
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def vault(moto):
    client = boto3.client(
        "secretsmanager",
        endpoint_url=moto,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    client.create_secret(
        Name="auditflow/acme", SecretString=json.dumps({"token": "s3cr3t", "pin": 12, "no": " "})
    )
    yield client
    for each in client.list_secrets()["SecretList"]:
        client.delete_secret(SecretId=each["Name"], ForceDeleteWithoutRecovery=True)
    client.close()


@pytest.fixture
def source(moto):
    return made(moto)


def made(endpoint, **more):
    given = {"endpoint-url": endpoint, "access-key-id": "a", "secret-access-key": "b", "region": "us-east-1"}
    return AwsSecrets(AwsSecretsManager.model_validate(given | more))


def test_a_tenants_secrets_are_the_values_of_one_json_object(vault, source):
    assert (source.get("acme", "token"), source.get("acme", "pin")) == ("s3cr3t", "12")


def test_a_prefix_names_other_secrets(vault, moto):
    vault.create_secret(Name="prod/audit-acme", SecretString='{"token": "of prod"}')
    assert made(moto, prefix="prod/audit-").get("acme", "token") == "of prod"


@pytest.mark.parametrize("key", ["absent", "no"])
def test_a_key_that_is_not_there_or_blank_is_missing(vault, source, key):
    with pytest.raises(SecretMissing) as raised:
        source.get("acme", key)
    assert str(raised.value) == (
        f"The secret '{key}' of tenant 'acme' is missing: the key {key} of the secret auditflow/acme of "
        "AWS Secrets Manager in us-east-1 is not there, or empty."
    )


def test_a_tenant_without_a_secret_is_told_the_command_that_makes_it(vault, source):
    with pytest.raises(SecretUnreadable, match="there is no such secret") as raised:
        source.get("other", "token")
    assert "aws secretsmanager create-secret --region us-east-1 --name auditflow/other" in raised.value.hint


@pytest.mark.parametrize("text", ["plain-s3cr3t", '["s3cr3t"]', '{"token": {"s3cr3t": 1}}'])
def test_a_secret_of_another_form_is_refused_and_not_repeated(vault, source, text):
    vault.create_secret(Name="auditflow/odd", SecretString=text)
    with pytest.raises(SecretUnreadable, match="JSON object") as raised:
        source.get("odd", "token")
    assert "s3cr3t" not in raised.value.explained()


def test_a_secret_is_kept_until_it_is_to_be_asked_for_again(vault, source):
    source.get("acme", "token")
    vault.put_secret_value(SecretId="auditflow/acme", SecretString='{"token": "rotated"}')
    assert source.get("acme", "token") == "s3cr3t"
    source.forget("acme")
    assert source.get("acme", "token") == "rotated"


def test_while_aws_does_not_answer_what_it_gave_before_is_used(vault, source, moto, monkeypatch):
    source.get("acme", "token")
    source.forget("acme")
    nowhere = made("http://127.0.0.1:9")
    monkeypatch.setattr(source, "_session", nowhere._session)
    assert source.get("acme", "token") == "s3cr3t"
    with pytest.raises(SecretsUnavailable) as raised:
        nowhere.get("acme", "token")
    assert "EndpointConnectionError" in str(raised.value)


def test_a_secret_that_was_deleted_is_not_used_any_more(vault, source):
    source.get("acme", "token")
    vault.delete_secret(SecretId="auditflow/acme", ForceDeleteWithoutRecovery=True)
    source.forget("acme")
    for _ in range(2):
        with pytest.raises(SecretUnreadable):
            source.get("acme", "token")


def test_without_credentials_it_says_that_they_are_missing(moto):
    source = AwsSecrets(AwsSecretsManager.model_validate({"endpoint-url": moto, "region": "us-east-1"}))
    with pytest.raises(SecretUnreadable, match="NoCredentialsError") as raised:
        source.get("acme", "token")
    assert "role" in raised.value.hint
