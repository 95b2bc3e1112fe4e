"""STS: who am I, and sessions for roles; and IAM's policy simulator, which the setup guide uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from auditflow.testing.cloudwatch.protocol import ServiceError
from auditflow.testing.cloudwatch.sts.identities import Identities, Identity, Role
from auditflow.testing.cloudwatch.sts.policy import Decision, decide, trust_document

Form = Mapping[str, str]
"""The parameters of the query protocol."""

UNSIGNED: Final = "AssumeRoleWithWebIdentity"
"""The operation that needs no credentials: it is how one gets them."""

_LIMITS: Final = {
    "RoleArn": (20, 2048, r"arn:[^:]+:iam::\d{12}:role/.+"),
    "RoleSessionName": (2, 64, r"[\w+=,.@-]*"),
    "ExternalId": (2, 1224, r"[\w+=,.@:\/-]*"),
    "WebIdentityToken": (4, 20_000, r".*"),
}
_DEFAULT_DURATION = 3600
_MIN_DURATION, _MAX_DURATION, _MAX_CHAINED = 900, 43_200, 3600


class Sts:
    """The operations of STS over registered identities and roles."""

    def __init__(self, identities: Identities) -> None:
        self.identities = identities
        self.session_lifetime: float | None = None
        """Seconds that every session really lasts; None: as long as the request asks for."""

    def call(self, operation: str, caller: Identity | None, form: Form) -> dict[str, Any]:
        """Carry out one operation; only UNSIGNED comes without a caller."""
        if operation == UNSIGNED:
            return self._assume_with_web_identity(form)
        if caller is not None and operation == "GetCallerIdentity":
            return {"Arn": caller.arn, "UserId": _user_id(caller), "Account": caller.account}
        if caller is not None and operation == "AssumeRole":
            return self._assume(caller, form)
        raise ServiceError(
            "UnknownOperationException", f"Could not find operation {operation} for version 2011-06-15"
        )

    def _assume(self, caller: Identity, form: Form) -> dict[str, Any]:
        _check(form, "RoleArn", "RoleSessionName")
        arn, external_id = form["RoleArn"], form.get("ExternalId")
        duration = _duration(form, chained=bool(caller.role))
        role = self._role(arn)
        if role is None or not _may_assume(caller, role, external_id):
            raise ServiceError(
                "AccessDenied",
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                status=403,
            )
        return self._session(role, form, duration)

    def _assume_with_web_identity(self, form: Form) -> dict[str, Any]:
        _check(form, "RoleArn", "RoleSessionName", "WebIdentityToken")
        duration = _duration(form, chained=False)
        role = self._role(form["RoleArn"])
        if role is None or not _trusts_web_identity(role):
            raise ServiceError("AccessDenied", f"Not authorized to perform sts:{UNSIGNED}", status=403)
        session = self._session(role, form, duration)
        return session | {"SubjectFromWebIdentityToken": "system:serviceaccount:default:default"}

    def _role(self, arn: str) -> Role | None:
        if self.identities.roles:
            return self.identities.roles.get(arn)
        return Role(arn, trust_document(["*"], ""), None)

    def _session(self, role: Role, form: Form, duration: float) -> dict[str, Any]:
        name = form["RoleSessionName"]
        lifetime = duration if self.session_lifetime is None else self.session_lifetime
        session = self.identities.issue(role, name, lifetime)
        expiration = datetime.fromtimestamp(session.expires or 0, UTC)
        return {
            "Credentials": {
                "AccessKeyId": session.access_key,
                "SecretAccessKey": session.secret,
                "SessionToken": session.token,
                "Expiration": f"{expiration:%Y-%m-%dT%H:%M:%SZ}",
            },
            "AssumedRoleUser": {"AssumedRoleId": f"AROAEXAMPLE:{name}", "Arn": session.arn},
        }


def _may_assume(caller: Identity, role: Role, external_id: str | None) -> bool:
    """Ask both sides: the role's trust policy always, the caller's own policies where it has any.

    Within one account a trust policy that names the caller itself is enough.
    """
    trusted = decide([role.trust], "sts:AssumeRole", "", external_id=external_id, principals=caller.names())
    if trusted is not Decision.ALLOWED or caller.policies is None:
        return trusted is Decision.ALLOWED
    own = decide(caller.policies, "sts:AssumeRole", role.arn, external_id=external_id)
    if own is Decision.SILENT and caller.account == role.account:
        self_names = caller.names()[:-2]
        own = decide([role.trust], "sts:AssumeRole", "", external_id=external_id, principals=self_names)
    return own is Decision.ALLOWED


def _trusts_web_identity(role: Role) -> bool:
    statements = role.trust["Statement"]
    listed = [statements] if isinstance(statements, Mapping) else statements
    text = str([statement.get("Principal") for statement in listed])
    return ":oidc-provider/" in text or "'*'" in text


def _user_id(identity: Identity) -> str:
    return f"AROAEXAMPLE:{identity.arn.rsplit('/', 1)[-1]}" if identity.role else identity.access_key


def _check(form: Form, *required: str) -> None:
    for name in required:
        if name not in form:
            raise _invalid("null", name, "Member must not be null")
    for name, (least, most, pattern) in _LIMITS.items():
        value = form.get(name)
        if value is not None and not (
            least <= len(value) <= most and re.fullmatch(pattern, value, re.DOTALL)
        ):
            shown = "(hidden)" if name == "WebIdentityToken" else value
            raise _invalid(shown, name, f"Member must have length {least} to {most} and match {pattern}")


def _duration(form: Form, *, chained: bool) -> int:
    text = form.get("DurationSeconds", str(_DEFAULT_DURATION))
    if not text.isdecimal() or not _MIN_DURATION <= int(text) <= _MAX_DURATION:
        raise _invalid(text, "DurationSeconds", f"Member must be {_MIN_DURATION} to {_MAX_DURATION}")
    if chained and int(text) > _MAX_CHAINED:
        raise ServiceError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
    return int(text)


def _invalid(value: str, name: str, constraint: str) -> ServiceError:
    return ServiceError(
        "ValidationError",
        f"1 validation error detected: Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy "
        f"constraint: {constraint}",
    )


def simulate_principal_policy(identities: Identities, form: Form) -> dict[str, Any]:
    """Evaluate a registered identity's or role's policies for every action on every resource."""
    arn = form.get("PolicySourceArn", "")
    known = {role.arn: role.policies for role in identities.roles.values()}
    known |= {identity.arn: identity.policies for identity in identities.registered.values()}
    if arn not in known:
        raise ServiceError(
            "NoSuchEntity", f"The entity {arn} is not registered with this server.", status=404
        )
    policies = known[arn]
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": Decision.ALLOWED if policies is None else decide(policies, action, resource),
            "MatchedStatements": "",
            "MissingContextValues": "",
        }
        for action in _members(form, "ActionNames")
        for resource in _members(form, "ResourceArns") or ["*"]
    ]
    return {"IsTruncated": False, "EvaluationResults": results}


def _members(form: Form, name: str) -> list[str]:
    return [value for key, value in form.items() if key.startswith(f"{name}.member.")]
