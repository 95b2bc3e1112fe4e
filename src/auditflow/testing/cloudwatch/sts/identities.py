"""Who is calling: SigV4 headers, registered identities, roles and the sessions issued for them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from auditflow.errors import MissingExtra
from auditflow.testing.cloudwatch.protocol import ServiceError
from auditflow.testing.cloudwatch.sts.policy import Decision, Policy, decide

DEFAULT_ACCOUNT: Final = "123456789012"
"""Account of every caller while no identity is registered."""

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `policies` None: everything is allowed; empty: nothing is."""

    access_key: str
    secret: str = field(repr=False)
    account: str
    arn: str
    policies: tuple[Policy, ...] | None = None
    token: str = field(default="", repr=False)
    expires: float | None = None
    """Unix time, seconds, of a session's end."""
    role: str = ""
    """ARN of the role that a session was issued for."""

    def names(self) -> list[str]:
        """Give what a trust policy may call this caller: its ARN, its role, its account."""
        return [self.arn, *filter(None, [self.role]), f"arn:aws:iam::{self.account}:root", self.account]


@dataclass(frozen=True, slots=True)
class Role:
    """A role that may be assumed."""

    arn: str
    trust: Policy
    policies: tuple[Policy, ...] | None

    @property
    def account(self) -> str:
        """Give the account that the role belongs to."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the Authorization header says."""

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it arrived, for the signature."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class Identities:
    """Registered identities and roles, and issued sessions."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.registered: dict[str, Identity] = {}
        self.roles: dict[str, Role] = {}
        self._sessions: dict[str, Identity] = {}

    def issue(self, role: Role, session_name: str, lifetime: float) -> Identity:
        """Make credentials for a role, good for `lifetime` seconds."""
        name = role.arn.rsplit("/", 1)[-1]
        session = Identity(
            f"ASIA{secrets.token_hex(8).upper()}",
            secrets.token_urlsafe(30),
            role.account,
            f"arn:aws:sts::{role.account}:assumed-role/{name}/{session_name}",
            role.policies,
            token=secrets.token_urlsafe(96),
            expires=self.clock() + lifetime,
            role=role.arn,
        )
        self._sessions[session.access_key] = session
        return session

    def caller(self, scope: Scope, request: Signed) -> Identity:
        """Find who signed a request, or raise what the service answers."""
        identity = self._sessions.get(scope.access_key) or self.registered.get(scope.access_key)
        if identity is None:
            if self.registered:
                raise _unrecognized()
            arn = f"arn:aws:iam::{DEFAULT_ACCOUNT}:user/{scope.access_key}"
            return Identity(scope.access_key, "", DEFAULT_ACCOUNT, arn)
        if identity.token and not hmac.compare_digest(
            identity.token, request.headers.get("x-amz-security-token", "")
        ):
            raise _unrecognized()
        if self.registered:
            _verify(identity, scope, request)
        if identity.expires is not None and self.clock() >= identity.expires:
            raise ServiceError(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        return identity


def scope_of(headers: Mapping[str, str]) -> Scope:
    """Read the Authorization header, or raise what the service answers to an unsigned request."""
    header = headers.get("authorization")
    if header is None:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None or not ({"x-amz-date", "date"} & headers.keys()):
        raise ServiceError(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters, "
            "and the request a date",
        )
    signed = tuple(match["headers"].split(";"))
    return Scope(match["key"], match["day"], match["region"], match["service"], signed, match["signature"])


def authorize(identity: Identity, action: str, resources: Sequence[str]) -> None:
    """Raise AccessDeniedException, in the service's words, unless the caller's policies allow all of it."""
    if identity.policies is None:
        return
    for resource in resources:
        decision = decide(identity.policies, action, resource)
        if decision is not Decision.ALLOWED:
            raise access_denied(identity, action, resource, explicit=decision is Decision.DENIED)


def access_denied(identity: Identity, action: str, resource: str, *, explicit: bool = False) -> ServiceError:
    """Build the error for what a caller may not do."""
    cause = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {action} action"
    )
    return ServiceError(
        "AccessDeniedException",
        f"User: {identity.arn} is not authorized to perform: {action} on resource: {resource} {cause}",
    )


def _unrecognized() -> ServiceError:
    return ServiceError(
        "UnrecognizedClientException", "The security token included in the request is invalid."
    )


def _verify(identity: Identity, scope: Scope, request: Signed) -> None:
    """Sign the request again with the identity's secret and compare."""
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise MissingExtra(what="Checking signatures", package="botocore", extra="aws") from None
    digest = request.headers.get("x-amz-content-sha256")
    headers = {name: request.headers.get(name, "") for name in scope.signed_headers}
    url = f"http://{request.headers.get('host', '')}{request.path}"
    copy = AWSRequest(method=request.method, url=url, data=request.body, headers=headers)
    copy.context["timestamp"] = request.headers.get("x-amz-date") or request.headers["date"]
    signer = SigV4Auth(
        Credentials(identity.access_key, identity.secret, identity.token or None), scope.service, scope.region
    )
    canonical = signer.canonical_request(copy)
    expected: str = signer.signature(signer.string_to_sign(copy, canonical), copy)
    honest = digest in {None, "UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest()}
    if not honest or not hmac.compare_digest(expected, scope.signature):
        raise ServiceError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
