"""Secrets of tenants in AWS Secrets Manager: one secret for each tenant, a JSON object of keys and texts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field

from auditflow.errors import SecretMissing, SecretsUnavailable, SecretUnreadable
from auditflow.outside_text import without_line_end
from auditflow.secrets.sources import SecretSource
from auditflow.sinks._aws.properties import AwsProperties
from auditflow.sinks._aws.session import AwsSession, require_boto3

KEPT_SECONDS: Final = 60.0
"""How long a secret is used before it is asked for again; each question costs money."""

_CONNECTIONS: Final = 8
_PASSING: Final = frozenset({"InternalServiceError", "RequestLimitExceeded", "ThrottlingException"})
"""Of the errors of GetSecretValue and those common to all calls of AWS, those that pass by themselves."""

_log = logging.getLogger(__name__)


class AwsSecretsManager(AwsProperties):
    """Where and as whom to ask AWS Secrets Manager."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9/_+=.@-]{0,400}$")] = "auditflow/"
    """What the name of a secret begins with; the tenant's id follows."""


class AwsSecrets(SecretSource):
    """Asks Secrets Manager, and keeps the answers for a minute, or for as long as it does not answer."""

    def __init__(self, properties: AwsSecretsManager) -> None:
        self._prefix = properties.prefix
        self._session = AwsSession(properties, "secretsmanager", _CONNECTIONS, lambda client: None)  # noqa: ARG005 - no hooks
        self._kept: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, tenant: str, key: str) -> str:
        """Give the key's value in the tenant's secret."""
        require_boto3("secrets.aws-secrets-manager")
        with self._locks.setdefault(tenant, threading.Lock()):
            value = self._secrets(tenant).get(key, "")
        if not value.strip():
            place = f"the key {key} of {self._place(tenant)}"
            raise SecretMissing(tenant=tenant, key=key, place=place, hint=f"Add {key} to that secret.")
        return value

    def forget(self, tenant: str) -> None:
        """Ask again for the tenant's secret at the next time."""
        if kept := self._kept.get(tenant):
            self._kept[tenant] = (0.0, kept[1])

    def _secrets(self, tenant: str) -> Mapping[str, str]:
        until, kept = self._kept.get(tenant, (0.0, {}))
        if time.monotonic() < until:
            return kept
        try:
            kept = self._asked(tenant)
        except SecretsUnavailable as error:
            if not kept:
                raise
            _log.warning("%s What it gave before is still used.", error)
        except BaseException:
            self._kept.pop(tenant, None)
            raise
        self._kept[tenant] = (time.monotonic() + KEPT_SECONDS, kept)
        return kept

    def _asked(self, tenant: str) -> Mapping[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        client: Any = None
        try:
            client = self._session.client()
            answer = client.get_secret_value(SecretId=f"{self._prefix}{tenant}")
        except ClientError as error:
            self._session.renew(client)
            raise self._refused(tenant, error) from None
        except BotoCoreError as error:
            self._session.renew(client)
            raise self._failed(tenant, error) from None
        return self._read(tenant, answer.get("SecretString"))

    def _read(self, tenant: str, text: str | None) -> Mapping[str, str]:
        try:
            values = msgspec.json.decode(text or "", type=dict[str, str | int | float])
        except msgspec.DecodeError:  # which would quote it
            hint = 'Write it as a JSON object of keys and texts, such as {"api_key": "…"}.'
            raise self._unreadable(tenant, "it is not such a JSON object", hint) from None
        return {key: without_line_end(str(value)) for key, value in values.items()}

    def _refused(self, tenant: str, error: Any) -> SecretMissing | SecretUnreadable | SecretsUnavailable:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SecretsUnavailable(tenant=tenant, place=self._place(tenant), reason=code)
        name = f"{self._prefix}{tenant}"
        if code == "ResourceNotFoundException":
            return self._unreadable(
                tenant,
                "there is no such secret",
                f"Make it: aws secretsmanager create-secret --region {self._session.region} --name {name} --secret-string '{{…}}'",
            )
        hint = (
            f"Allow secretsmanager:GetSecretValue on the secret {name}, and kms:Decrypt on the key it has, "
            f"to the role that AuditFlow runs as; {error.operation_name} is what was refused."
        )
        return self._unreadable(tenant, code, hint)

    def _failed(self, tenant: str, error: Exception) -> SecretUnreadable | SecretsUnavailable:
        from botocore.exceptions import NoCredentialsError, PartialCredentialsError, ProfileNotFound

        reason = type(error).__name__
        if not isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            return SecretsUnavailable(tenant=tenant, place=self._place(tenant), reason=reason)
        hint = (
            "Give AuditFlow credentials: a role where it runs, or secrets.aws-secrets-manager.access-key-id."
        )
        return self._unreadable(tenant, reason, hint)

    def _unreadable(self, tenant: str, reason: str, hint: str) -> SecretUnreadable:
        return SecretUnreadable(tenant=tenant, place=self._place(tenant), reason=reason, hint=hint)

    def _place(self, tenant: str) -> str:
        return f"the secret {self._prefix}{tenant} of AWS Secrets Manager in {self._session.region}"
