"""The smallest IAM policies with which the configured pipelines deliver. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from auditflow.sinks._aws.partitions import partition_of
from auditflow.sinks.aws_cloudwatch_sink.errors import Place, log_group_arn
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

Policy = dict[str, Any]

UNKNOWN_ACCOUNT: Final = "ACCOUNT-ID"
"""Stands where IAM takes no wildcard, until somebody writes the account there."""
SOURCE_ROLE: Final = "AuditFlowSourceRole"
"""What the role that AuditFlow runs as is called where its name does not matter."""
SERVICE_ACCOUNT: Final = "auditflow-sink"
NAMESPACE: Final = "labs64io"

FEW: Final = 5
"""Pipelines that are named where there may be many."""

_KEY_ACTIONS: Final = (
    "kms:Encrypt*",
    "kms:Decrypt*",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
    "kms:Describe*",
)
"""What CloudWatch Logs does with a key (Amazon CloudWatch Logs User Guide, encrypt-log-data-kms)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A pipeline that delivers to CloudWatch Logs, and the region it ends up in."""

    pipeline: str
    region: str
    properties: CloudWatchProperties


@dataclass(frozen=True, slots=True)
class Document:
    """One policy or manifest, and where it belongs."""

    account: str
    """`*` when that is not known."""
    kind: Literal["permissions", "trust", "key", "service-account"]
    belongs_to: str
    pipelines: tuple[str, ...]
    content: Policy


def documents(deliveries: Iterable[Delivery], account: str = "") -> list[Document]:
    """Write everything the pipelines need; `account` is the one AuditFlow runs in, empty when not known."""
    deliveries = list(deliveries)
    roles = _grouped((each.properties.role_arn, each) for each in deliveries if each.properties.role_arn)
    written = []
    for (keys, profile), those in _grouped((_source(each.properties), each) for each in deliveries).items():
        at_home = not keys and not profile
        own_account = (account if at_home else "") or "*"
        written.append(_of_source(those, own_account, _owner(those, keys, profile)))
        if at_home:
            written.append(_service_account(those, account))
    for arn, those in roles.items():
        written += _of_role(arn, those, account)
    return written + _of_keys(deliveries, account)


def actions(properties: CloudWatchProperties) -> list[str]:
    """Name the actions on the streams of the log group that these properties make the sink use."""
    ours = properties
    return [
        "logs:PutLogEvents",
        *(["logs:CreateLogStream"] if ours.create_log_stream else []),
        *(["logs:CreateLogGroup"] if ours.create_log_group else []),
        *(["logs:PutRetentionPolicy"] if ours.retention_in_days else []),
    ]


def log_group_statements(deliveries: Sequence[Delivery], account: str) -> list[Policy]:
    """Allow on each log group what its pipelines do there; groups with the same needs share a statement."""
    needs: dict[str, dict[str, None]] = {}
    for each in deliveries:
        needs.setdefault(_group_arn(each, account), {}).update(dict.fromkeys(actions(each.properties)))
    alike = _grouped((tuple(wanted), arn) for arn, wanted in needs.items())
    statements = [_allow(wanted, arns) for wanted, arns in alike.items()]
    tagged = dict.fromkeys(_group_arn(each, account) for each in deliveries if each.properties.tags)
    if tagged:  # tags are of the group itself, whose ARN the service writes with and without an ending
        both = [form for arn in tagged for form in (arn.removesuffix(":*"), arn)]
        statements.append(_allow(["logs:TagResource"], both))
    return statements


def trust_policy(principals: Sequence[str], external_ids: Sequence[str | None]) -> Policy:
    """Let these principals assume a role, with one of the external ids unless somebody has none."""
    statement: Policy = {
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all(principals)},
        "Action": "sts:AssumeRole",
    }
    if None not in external_ids:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": _one_or_all(external_ids)}}
    return _policy([statement])


def _of_source(deliveries: Sequence[Delivery], account: str, owner: str) -> Document:
    direct = [each for each in deliveries if not each.properties.role_arn]
    roles = dict.fromkeys(each.properties.role_arn for each in deliveries if each.properties.role_arn)
    statements = log_group_statements(direct, account)
    if roles:
        statements.append(_allow(["sts:AssumeRole"], list(roles)))
    return Document(account, "permissions", owner, _names(deliveries), _policy(statements))


def _of_role(arn: str, deliveries: Sequence[Delivery], account: str) -> list[Document]:
    target = arn.split(":")[4]
    owner = f"role {arn.partition(':role/')[2]}"
    homes = dict.fromkeys(
        account if _source(each.properties) == ("", "") and account else UNKNOWN_ACCOUNT
        for each in deliveries
    )
    principals = [f"arn:{arn.split(':')[1]}:iam::{home}:root" for home in homes]
    external_ids = list(dict.fromkeys(each.properties.external_id for each in deliveries))
    permissions = _policy(log_group_statements(deliveries, target))
    names = _names(deliveries)
    return [
        Document(target, "trust", owner, names, trust_policy(principals, external_ids)),
        Document(target, "permissions", owner, names, permissions),
    ]


def _of_keys(deliveries: Iterable[Delivery], account: str) -> list[Document]:
    """Let CloudWatch Logs itself use the keys: the sink needs no permission of its own for them.

    It is a statement to add, since a key policy without its administrators locks them out.
    """
    keys = _grouped((each.properties.kms_key_id, each) for each in deliveries if each.properties.kms_key_id)
    written = []
    for arn, those in keys.items():
        region, key_account = arn.split(":")[3:5]
        service = f"logs.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        groups = dict.fromkeys(
            _group_arn(each, _home(each.properties, account)).removesuffix(":*") for each in those
        )
        statement = _allow(_KEY_ACTIONS, ["*"]) | {
            "Principal": {"Service": service},
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": _one_or_all(list(groups))}},
        }
        written.append(Document(key_account, "key", f"KMS key {arn}", _names(those), statement))
    return written


def _service_account(deliveries: Sequence[Delivery], account: str) -> Document:
    role = f"arn:{partition_of(deliveries[0].region)}:iam::{account or UNKNOWN_ACCOUNT}:role/{SOURCE_ROLE}"
    manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": SERVICE_ACCOUNT,
            "namespace": NAMESPACE,
            "annotations": {"eks.amazonaws.com/role-arn": role},
        },
    }
    owner = "the delivery role on EKS"
    return Document(account or "*", "service-account", owner, _names(deliveries), manifest)


def _group_arn(delivery: Delivery, account: str) -> str:
    """Name the log group; one with fields of the event by its fixed beginning, which no event can change."""
    fixed, field, _ = delivery.properties.log_group.partition("{{")
    return log_group_arn(Place(delivery.region, f"{fixed}*" if field else fixed, ""), account)


def _home(properties: CloudWatchProperties, account: str) -> str:
    """Give the account that the log group is in."""
    if properties.role_arn:
        return properties.role_arn.split(":")[4]
    return account if account and _source(properties) == ("", "") else "*"


def _source(properties: CloudWatchProperties) -> tuple[str, str]:
    """Tell identities apart: by access key or profile; neither is what botocore's default chain finds."""
    key = properties.access_key_id
    return (key.get_secret_value() if key else "", properties.profile or "")


def _owner(deliveries: Sequence[Delivery], access_key: str, profile: str) -> str:
    if access_key:
        return f"the owner of the access key of {few(_names(deliveries))}"
    return f"the identity of profile {profile}" if profile else "the delivery role"


def few(names: Sequence[str]) -> str:
    """Name the first of them, and say how many more there are."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _names(deliveries: Iterable[Delivery]) -> tuple[str, ...]:
    return tuple(each.pipeline for each in deliveries)


def _policy(statements: Sequence[Mapping[str, Any]]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: Sequence[str], resources: Sequence[str]) -> Policy:
    return {"Effect": "Allow", "Action": _one_or_all(actions), "Resource": _one_or_all(resources)}


def _one_or_all(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 else list(items)


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for key, item in pairs:
        groups.setdefault(key, []).append(item)
    return groups
