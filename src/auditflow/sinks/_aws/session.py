"""What AWS destinations have in common: region, credentials, assumed roles, clients.

botocore does the work; this says which of its parts are used and shares what can be shared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final
from weakref import WeakValueDictionary

from auditflow import __version__
from auditflow.errors import MissingExtra
from auditflow.masking import hide
from auditflow.sinks._aws.connection import ANSWER_SECONDS, bound_answers
from auditflow.sinks._aws.properties import AwsProperties
from auditflow.sinks._aws.request_log import log_calls

DEFAULT_REGION: Final = "us-east-1"
CONNECT_TIMEOUT: Final = 5
"""Seconds."""


class AwsSession:
    """Region, credentials and one client of a destination, made at the first use and again after `renew`.

    Methods block, may be called from several threads, and raise what botocore raises. `prepare` is given each
    new client, to register its hooks.
    """

    def __init__(
        self,
        properties: AwsProperties,
        service: str,
        connections: int,
        prepare: Callable[[Any], None],
    ) -> None:
        self.region = properties.region or default_region()
        """As configured; after the first `client` also as a profile says."""
        self._properties = properties
        self._service = service
        self._connections = connections
        self._prepare = prepare
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None
        self._role: _AssumedRole | None = None

    def client(self) -> Any:
        """Give the client, made if there is none."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def check_credentials(self) -> None:
        """Get credentials, an assumed role's included; raises what keeps them from being had."""
        self.client()
        if self._credentials is None:
            raise _no_credentials()
        self._credentials.get_frozen_credentials()

    def renew(self, failed: Any) -> None:
        """Forget the client that `failed`, so that files, environment and metadata are read again.

        Does nothing when another thread has already done so.
        """
        with self._lock:
            if self._client is failed:
                if self._role is not None:
                    self._role.forget()
                self._drop()

    def hide_credentials(self) -> None:
        """Keep the credentials in use out of whatever is said about a fault."""
        known = vars(self._credentials) if self._credentials else {}  # asking would renew them
        hide(filter(None, map(known.get, ("secret_key", "token", "_secret_key", "_token"))))

    def close(self) -> None:
        """Close the client's connections. A later call makes new ones."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._credentials = self._role = None

    def _connect(self) -> Any:
        import boto3

        session = self._botocore_session()
        if self._properties.access_key_id:
            session.set_credentials(*self._keys())
        self.region = (
            self._properties.region
            or _region_of_environment()
            or session.get_config_variable("region")
            or DEFAULT_REGION
        )
        if self._properties.role_arn:
            self._role = self._assumed_role(session)
            session = self._botocore_session()
            session.get_component("credential_provider").providers.insert(0, self._role)
        self._credentials = session.get_credentials()
        self.hide_credentials()
        _check_clean(self._credentials)
        client = boto3.Session(botocore_session=session).client(
            self._service,
            region_name=self.region,
            endpoint_url=self._properties.endpoint_url,
            verify=self._properties.ca_bundle,
            config=self._config(self._properties.endpoint_url, parameter_validation=False),
        )
        bound_answers(client)
        self._prepare(client)
        return client

    def _botocore_session(self) -> Any:
        import botocore.session

        session = botocore.session.Session(profile=self._properties.profile)
        session.register_component("data_loader", _data_loader())
        log_calls(session)
        return session

    def _keys(self) -> tuple[str | None, ...]:
        ours = self._properties
        secrets = (ours.access_key_id, ours.secret_access_key, ours.session_token)
        return tuple(secret.get_secret_value() if secret else None for secret in secrets)

    def _config(self, endpoint_url: str | None, **settings: Any) -> Any:
        from botocore.config import Config

        ours = self._properties
        if ours.use_fips_endpoint is not None and endpoint_url is None:
            settings["use_fips_endpoint"] = ours.use_fips_endpoint
        if ours.proxy_url:
            settings["proxies"] = dict.fromkeys(("http", "https"), ours.proxy_url.get_secret_value())
        return Config(
            retries={"total_max_attempts": 1, "mode": "standard"},  # the pipeline retries, and counts it
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=ANSWER_SECONDS,
            max_pool_connections=self._connections,
            tcp_keepalive=True,
            user_agent_extra=f"auditflow/{__version__}",
            **settings,
        )

    def _assumed_role(self, source: Any) -> _AssumedRole:
        """Give the role's credentials, shared by all sessions that assume it from the same source."""
        from botocore.credentials import RefreshableCredentials

        own = source.get_credentials()
        if own is None:
            raise _no_credentials()
        # What renews itself is known by where it comes from; a key that was replaced is another source.
        origin = own.method if isinstance(own, RefreshableCredentials) else own.get_frozen_credentials()
        ours = self._properties
        key = (
            ours.profile, origin, ours.role_arn, ours.external_id, ours.role_session_name,
            ours.role_duration_seconds, ours.sts_endpoint_url, self.region, ours.use_fips_endpoint,
            ours.ca_bundle, ours.proxy_url,
        )  # fmt: skip
        with _roles_lock:
            role = _roles.get(key)
            if role is None:
                role = _roles[key] = _AssumedRole(key, self._role_credentials(source, own))
        return role

    def _role_credentials(self, source: Any, own: Any) -> Any:
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        ours = self._properties
        asked = {
            "RoleSessionName": ours.role_session_name,
            "DurationSeconds": ours.role_duration_seconds,
            **({"ExternalId": ours.external_id} if ours.external_id else {}),
        }
        create = partial(
            _bounded_client,
            source,
            region_name=self.region,
            endpoint_url=ours.sts_endpoint_url,
            verify=ours.ca_bundle,
            config=self._config(ours.sts_endpoint_url),
        )
        fetcher = AssumeRoleCredentialFetcher(create, own, ours.role_arn, extra_args=asked)
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _bounded_client(source: Any, *arguments: Any, **settings: Any) -> Any:
    client = source.create_client(*arguments, **settings)
    bound_answers(client)
    return client


class _AssumedRole:
    """A botocore credential provider that gives one role's self-renewing credentials."""

    METHOD = "auditflow-assume-role"
    CANONICAL_NAME = "custom-auditflow-assume-role"

    def __init__(self, key: tuple[object, ...], credentials: Any) -> None:
        self._key = key
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials

    def forget(self) -> None:
        with _roles_lock:
            if _roles.get(self._key) is self:
                del _roles[self._key]


_roles: WeakValueDictionary[tuple[object, ...], _AssumedRole] = WeakValueDictionary()
"""Lives as long as a session uses it; the key holds all that the credentials depend on."""
_roles_lock = threading.Lock()


def require_boto3(sink: str) -> None:
    """Import boto3, or raise MissingExtra with the command that installs it."""
    try:
        import boto3  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra(what=sink, package="boto3", extra="aws") from error


@cache
def _data_loader() -> Any:
    """Give the loader of botocore's service models: shared, since reading one takes 50 ms and megabytes."""
    from botocore.loaders import Loader

    return Loader()


def default_region() -> str:
    """Give the region of what names none and no profile: the environment's, else us-east-1."""
    return _region_of_environment() or DEFAULT_REGION


def _region_of_environment() -> str | None:
    """Read the region as containers on ECS, EKS and Lambda are given it; botocore reads only the second name."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


class UncleanCredentialsError(Exception):
    """A credential has a character that no header takes."""


def _check_clean(credentials: Any) -> None:
    """Raise UncleanCredentialsError; credentials that are got later are the service's own."""
    for name in ("access_key", "secret_key", "token"):
        value = vars(credentials).get(name) if credentials else None
        if isinstance(value, str) and not (value.isascii() and value.isprintable() and " " not in value):
            raise UncleanCredentialsError(
                f"the {name.replace('_', ' ')} holds a blank, a line end or another odd character"
            )


def _no_credentials() -> Exception:
    from botocore.exceptions import NoCredentialsError

    error: Exception = NoCredentialsError()
    return error
