"""Faults of CloudWatch Logs told apart: one table from the fault's name to what becomes of the events.

A fault is an exception of botocore, named by the service's error code or by the exception's class; neither
needs botocore to be imported here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from auditflow.plugin_call import text_of
from auditflow.sinks._aws.partitions import partition_of
from auditflow.sinks._base import DELIVERED, Outcome, Verdict
from auditflow.sinks._http import MAYBE_TAKEN, retry_after, tls_fault, unknown_host, untrusted

MISSING: Final = "ResourceNotFoundException"
STALE_SEQUENCE: Final = "InvalidSequenceTokenException"


@dataclass(frozen=True, slots=True)
class Place:
    """What a fault's hint has to name."""

    region: str
    log_group: str
    log_stream: str
    role_arn: str = ""


class Rule(NamedTuple):
    """What a fault means. `hint` is a template; its fields are those that `_facts` gives."""

    verdict: Verdict
    hint: str = ""
    ambiguous: bool = False
    credentials: bool = False
    """New credentials may fix it."""


_AGAIN = Rule(Verdict.RETRY)
_UNREACHED = Rule(
    Verdict.RETRY,
    "Delivery tries again by itself; if it stays, let this machine reach the service: network, proxy-url, endpoint-url.",
)
_THROTTLED = Rule(
    Verdict.RETRY,
    "Delivery tries again by itself; if it stays, raise the quota of {action} in {region}, lengthen flush-interval, or "
    "have fewer streams.",
)
_STALE = Rule(
    Verdict.RETRY,
    "Delivery tries again by itself; CloudWatch Logs ignores sequence tokens since 2023: see what endpoint-url leads to.",
)
_AMBIGUOUS = Rule(Verdict.RETRY, ambiguous=True)
_INVALID = Rule(Verdict.REJECTED)
_ACCEPTED = Rule(Verdict.DELIVERED)
_ABSENT = Rule(Verdict.BLOCKED)
_DENIED = Rule(
    Verdict.BLOCKED,
    "Allow {identity} to do {action} on {resource}: add to its policy {statement}",
    credentials=True,
)
_FORBIDDEN = Rule(
    Verdict.BLOCKED, "A policy denies {identity} {action} on {resource}: remove that deny.", credentials=True
)
_NO_ROLE = Rule(
    Verdict.BLOCKED,
    "Let {identity} assume {role}: add to its policy {role_statement} and name it as a principal in the role's trust "
    "policy, with the external id that the external-id property holds, if the trust policy asks for one.",
    credentials=True,
)
_EXPIRED = Rule(
    Verdict.BLOCKED,
    "The credentials have expired: renew access-key-id, secret-access-key and session-token (or the profile), or use a "
    "role, which renews itself. {action} on {resource} is what they are for.",
    credentials=True,
)
_UNKNOWN_KEY = Rule(
    Verdict.BLOCKED,
    "AWS does not know the access key: fix access-key-id, secret-access-key and session-token, and see that the key is "
    "active and region {region} is enabled in its account. {action} on {resource} is what it is for.",
    credentials=True,
)
_SIGNATURE = Rule(
    Verdict.BLOCKED, "The secret does not belong to the access key: fix secret-access-key.", credentials=True
)
_CLOCK = Rule(
    Verdict.BLOCKED, "This machine's clock is wrong by minutes: set it (`timedatectl set-ntp true`)."
)
_KMS = Rule(
    Verdict.BLOCKED,
    "The KMS key of log group {log_group} cannot be used: fix kms-key-id, enable the key, and let its policy allow "
    "logs.{region}.amazonaws.com kms:Encrypt*, kms:Decrypt*, kms:ReEncrypt*, kms:GenerateDataKey* and kms:Describe*; or take "
    "it off the group: aws logs disassociate-kms-key --log-group-name {log_group} --region {region}",
)
_NO_CREDENTIALS = Rule(
    Verdict.BLOCKED,
    "Give AuditFlow credentials that allow {action} on {resource}: an IAM role of the machine or the service account, "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile, or access-key-id and secret-access-key.",
    credentials=True,
)
_CONFIGURATION = Rule(
    Verdict.BLOCKED,
    "Fix the shared AWS configuration (~/.aws/config, ~/.aws/credentials, AWS_… variables) or the property it names; "
    "`aws configure list-profiles` lists the profiles.",
    credentials=True,
)
_UNCLEAN = Rule(
    Verdict.BLOCKED,
    "Write the key or token again, without blanks and line ends: in the environment, the shared AWS configuration, or "
    "access-key-id, secret-access-key and session-token.",
    credentials=True,
)
_HOST = Rule(
    Verdict.BLOCKED, "Fix region ({region}) or endpoint-url, or the name server that this machine asks."
)
_TLS = Rule(Verdict.BLOCKED, "Name a readable file of trusted authorities in ca-bundle or AWS_CA_BUNDLE.")
_REDIRECTED = Rule(
    Verdict.BLOCKED,
    "Something redirects the requests, and redirects are not followed, since that could send events elsewhere: fix "
    "endpoint-url or proxy-url.",
)
_PROXY = Rule(
    Verdict.BLOCKED, "The proxy wants credentials: put them into proxy-url, HTTP_PROXY or HTTPS_PROXY."
)
_STRANGER = Rule(
    Verdict.BLOCKED,
    "That is not how CloudWatch Logs answers: if a proxy or a firewall does, let it pass the requests, or fix endpoint-url or "
    "proxy-url; if AWS does, allow {action} on {resource}.",
)
_SETTINGS = Rule(
    Verdict.BLOCKED,
    "CloudWatch Logs does not create log group {log_group} with these settings: fix kms-key-id, tags, log-group-class or "
    "retention-in-days.",
)
_NAME = Rule(Verdict.BLOCKED, "Fix log-group ({log_group}) or log-stream ({log_stream}).")

RULES: Final[Mapping[str, Rule]] = {
    # the service's codes, without the ending "Exception"
    "DataAlreadyAccepted": _ACCEPTED,
    "InvalidParameter": _INVALID,
    "Validation": _INVALID,
    "ValidationError": _INVALID,
    "Serialization": _INVALID,
    "RequestEntityTooLarge": _INVALID,
    "ResourceNotFound": _ABSENT,
    "InvalidSequenceToken": _STALE,
    "AccessDenied": _DENIED,
    "UnauthorizedOperation": _DENIED,
    "OptInRequired": _UNKNOWN_KEY,
    "RegionDisabled": _UNKNOWN_KEY,
    "UnrecognizedClient": _UNKNOWN_KEY,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "AuthFailure": _UNKNOWN_KEY,
    "MissingAuthenticationToken": _NO_CREDENTIALS,
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidIdentityToken": _EXPIRED,
    "InvalidSignature": _SIGNATURE,
    "SignatureDoesNotMatch": _SIGNATURE,
    "IncompleteSignature": _SIGNATURE,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestInTheFuture": _CLOCK,
    # an HTTP status: what the answer of a proxy or gateway looks like to botocore
    "407": _PROXY,
    "413": _INVALID,
    "425": _AGAIN,
    "429": _AGAIN,
    # botocore's exceptions
    "ReadTimeoutError": _AMBIGUOUS,
    "ConnectionClosedError": _AMBIGUOUS,
    "ResponseStreamingError": _AMBIGUOUS,
    "IncompleteReadError": _AMBIGUOUS,
    "ResponseParserError": _AMBIGUOUS,
    "ConnectionError": _UNREACHED,
    "MetadataRetrievalError": _AGAIN,
    "HTTPClientError": _AMBIGUOUS,
    "NoCredentialsError": _NO_CREDENTIALS,
    "NoAuthTokenError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _NO_CREDENTIALS,
    "UncleanCredentialsError": _UNCLEAN,
    "PartialCredentialsError": _CONFIGURATION,
    "ProfileNotFound": _CONFIGURATION,
    "ConfigParseError": _CONFIGURATION,
    "ConfigNotFound": _CONFIGURATION,
    "InvalidConfigError": _CONFIGURATION,
    "UnknownCredentialError": _CONFIGURATION,
    "InvalidRegionError": _HOST,
    "SSOError": _EXPIRED,
    "TokenRetrievalError": _EXPIRED,
    "LoginError": _EXPIRED,
    "FileNotFoundError": _CONFIGURATION,
    "PermissionError": _CONFIGURATION,
    # our own, of an answer and of an event
    "DecodeError": _AMBIGUOUS,
    "NotUtf8Error": _INVALID,
}
"""What is not here is retried under its own name."""


def classify(error: Exception, place: Place) -> Outcome:
    """Say what becomes of the events of a request that ended in `error`.

    DELIVERED when the service already had them; REJECTED when it refused the request for what is in it: for
    the one event of a request of one, otherwise a reason to divide it.
    """
    fault = _Fault.of(error)
    rule = _rule(error, fault)
    if rule is _ACCEPTED:
        return DELIVERED
    tls = tls_fault(error)
    if tls and rule is not _TLS:
        return Outcome(Verdict.BLOCKED, tls.code, f"{place.region}: {tls.reason}", tls.hint)
    return Outcome(
        rule.verdict,
        fault.code,
        _reason(fault, rule),
        rule.hint.format(**_facts(fault, place)) if rule.hint else "",
        retry_after=retry_after(fault.headers.get("retry-after")),
        ambiguous=rule.ambiguous,
    )


def needs_new_credentials(error: Exception) -> bool:
    """Tell whether the fault may be gone once credentials are read again."""
    return _rule(error, _Fault.of(error)).credentials


def error_code(error: Exception) -> str:
    """Give the service's error code, or the name of the exception's class."""
    return _Fault.of(error).code


def log_group_arn(place: Place, account: str = "*") -> str:
    """Write the ARN that a policy for the log group and its streams names."""
    return f"arn:{partition_of(place.region)}:logs:{place.region}:{account}:log-group:{place.log_group}:*"


def policy_statement(action: str, resource: str) -> str:
    """Write the IAM policy statement that allows an action on a resource."""
    return json.dumps({"Effect": "Allow", "Action": action, "Resource": resource})


class _Fault(NamedTuple):
    """What an exception says, whichever library it comes from."""

    code: str
    names: tuple[str, ...]
    message: str
    operation: str
    status: int
    headers: Mapping[str, str]

    @classmethod
    def of(cls, error: Exception) -> _Fault:
        response: Mapping[str, Any] = getattr(error, "response", None) or {}
        if "Error" not in response:
            names = tuple(kind.__name__ for kind in type(error).__mro__)
            return cls(names[0], names, text_of(error), "", 0, {})
        code = str(response["Error"].get("Code", "")) or "Unknown"
        answer = response.get("ResponseMetadata", {})
        return cls(
            code,
            (code.removesuffix("Exception"),),
            str(response["Error"].get("Message", "")),
            str(getattr(error, "operation_name", "")),
            int(answer.get("HTTPStatusCode", 0)),
            answer.get("HTTPHeaders", {}),
        )


_NO_BUNDLE: Final = "No such file|Is a directory|Permission denied|no certificate|PEM"
_OF_THE_GROUP: Final = {"CreateLogGroup", "PutRetentionPolicy"}


def _rule(error: Exception, fault: _Fault) -> Rule:
    """Find the rule: first by what only the message or the cause tells, then by name."""
    named = next((RULES[name] for name in fault.names if name in RULES), None)

    def says(pattern: str) -> bool:
        return re.search(pattern, fault.message, re.IGNORECASE) is not None

    throttled = "throttl" in fault.code.lower()
    strange = fault.code == str(fault.status)  # not a code of the service's
    cases = (
        (_HOST, unknown_host(error)),
        (_TLS, untrusted(error) or (fault.code == "SSLError" and says(_NO_BUNDLE))),
        (_KMS, fault.code.startswith("KMS") and not throttled),
        (_KMS, named in (_INVALID, _DENIED) and says(r"\bkms")),
        (_NAME, named is _INVALID and says(r"log_?(group|stream)_?name")),
        (_SETTINGS, named is _INVALID and fault.operation in _OF_THE_GROUP),
        (_CLOCK, named is _SIGNATURE and says(r"expired|not yet current")),
        (_NO_ROLE, named in (_INVALID, _DENIED) and fault.operation.startswith("AssumeRole")),
        (_THROTTLED, throttled),
        (_FORBIDDEN, named is _DENIED and says("explicit deny")),
        (_AMBIGUOUS, named is None and fault.status in MAYBE_TAKEN),
        (_REDIRECTED, strange and fault.status in range(300, 400)),
        (_STRANGER, strange and named is None and fault.status in range(400, 500)),
    )
    return next((rule for rule, applies in cases if applies), named or _AGAIN)


_SIGNED = re.compile(r"AWS4-|Canonical String|security-token\s*:|Signature=|Credential=", re.IGNORECASE)
"""Marks of a message that quotes the signed request, with the session token among its headers."""


_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
"""What the answer of a stranger may be full of."""


def _reason(fault: _Fault, rule: Rule) -> str:
    message = (
        ""
        if rule is _SIGNATURE or _SIGNED.search(fault.message)
        else _CONTROLS.sub(" ", fault.message[:500]).strip()
    )
    return ": ".join(part for part in (fault.operation, fault.code, message) if part)


def _facts(fault: _Fault, place: Place) -> dict[str, str]:
    def quoted(pattern: str) -> str:
        match = re.search(pattern, fault.message)
        return match.group(1).rstrip(".,") if match else ""

    identity = quoted(r"User: (arn:\S+)")
    named = quoted(r"on resource: (arn:\S+)")
    role = place.role_arn or named or "the role"
    account = next((arn.split(":")[4] for arn in (named, role, identity) if arn.startswith("arn:")), "*")
    assuming = fault.operation.startswith("AssumeRole")
    service = "sts" if assuming else "logs"
    asked = "TagResource" if "with Tags" in fault.message else fault.operation or "PutLogEvents"
    action = quoted(r"to perform: (\w+:\w+)") or f"{service}:{asked}"
    resource = role if assuming else log_group_arn(place, account)
    return {
        "identity": identity or "the identity AuditFlow runs as (`aws sts get-caller-identity` names it)",
        "action": action,
        "resource": resource,
        "statement": policy_statement(action, resource),
        "role": role,
        "role_statement": policy_statement("sts:AssumeRole", role),
        "region": place.region,
        "log_group": place.log_group,
        "log_stream": place.log_stream,
    }
