"""The part of IAM's policy evaluation that the server needs: Allow, Deny, wildcards, sts:ExternalId."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

Policy = Mapping[str, Any]


class Decision(StrEnum):
    """What policies say of one action on one resource, in the words of SimulatePrincipalPolicy."""

    ALLOWED = "allowed"
    DENIED = "explicitDeny"
    SILENT = "implicitDeny"


def load(policy: Policy | str) -> Policy:
    """Read a policy document; ValueError says what in it this server does not evaluate."""
    document: Policy = json.loads(policy) if isinstance(policy, str) else policy
    for statement in _statements(document):
        if statement.get("Effect") not in {"Allow", "Deny"}:
            raise ValueError(f"a statement needs the Effect Allow or Deny: {statement}")
        for kind, conditions in statement.get("Condition", {}).items():
            if kind != "StringEquals" or set(conditions) != {"sts:ExternalId"}:
                raise ValueError(
                    f"only StringEquals of sts:ExternalId is evaluated as a condition, not {kind}"
                )
    return document


def trust_document(principals: Sequence[str], external_id: str) -> Policy:
    """Write the trust policy that lets these principals assume a role."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": list(principals), "Federated": list(principals)},
        "Action": ["sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"],
    }
    if external_id:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def decide(
    policies: Iterable[Policy],
    action: str,
    resource: str,
    *,
    external_id: str | None = None,
    principals: Sequence[str] = (),
) -> Decision:
    """Evaluate policies; with `principals` (the names of the caller) they are trust policies."""
    decision = Decision.SILENT
    for statement in (each for policy in policies for each in _statements(policy)):
        if not _applies(statement, action, resource, external_id, principals):
            continue
        if statement["Effect"] == "Deny":
            return Decision.DENIED
        decision = Decision.ALLOWED
    return decision


def _applies(
    statement: Policy, action: str, resource: str, external_id: str | None, principals: Sequence[str]
) -> bool:
    if principals:
        if not any(matches(wanted, name) for wanted in _principals(statement) for name in principals):
            return False
    elif not _covers(statement, "Resource", resource):
        return False
    return _covers(statement, "Action", action.lower()) and _conditions_hold(statement, external_id)


def _covers(statement: Policy, element: str, value: str) -> bool:
    fold = str.lower if element == "Action" else str
    if element in statement:
        return any(matches(fold(wanted), value) for wanted in _listed(statement[element]))
    excluded = _listed(statement.get(f"Not{element}", "*"))
    return not any(matches(fold(each), value) for each in excluded)


def _conditions_hold(statement: Policy, external_id: str | None) -> bool:
    wanted = statement.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId")
    return wanted is None or external_id in _listed(wanted)


def _principals(statement: Policy) -> list[str]:
    principal = statement.get("Principal", {})
    return ["*"] if principal == "*" else [each for value in principal.values() for each in _listed(value)]


def _statements(policy: Policy) -> Sequence[Policy]:
    statements: Policy | Sequence[Policy] = policy["Statement"]
    return [statements] if isinstance(statements, Mapping) else statements


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def matches(pattern: str, text: str) -> bool:
    """Compare with IAM's wildcards: `*` any characters, colons included; `?` one."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
