"""Operations on log groups: create, delete, describe, retention, encryption."""

from __future__ import annotations

import re

from auditflow.testing.cloudwatch.logs.limits import RETENTION_DAYS
from auditflow.testing.cloudwatch.logs.state import Given, Group, Region, page
from auditflow.testing.cloudwatch.logs.tags import checked_tags
from auditflow.testing.cloudwatch.protocol import ServiceError, invalid

_KMS_KEY = re.compile(r"arn:[^:]+:kms:[^:]+:[^:]+:key/.+")


def create_log_group(region: Region, given: Given) -> Given:
    """Create a group with its key, class, tags and protection."""
    name = given["logGroupName"]
    if name.startswith("aws/"):
        raise invalid("Log groups starting with AWS/ are reserved for AWS.")
    tags = checked_tags({}, given.get("tags", {}))
    key = _checked_key(given.get("kmsKeyId", ""))
    if name in region.groups:
        raise ServiceError("ResourceAlreadyExistsException", "The specified log group already exists")
    region.groups[name] = Group(
        name,
        region.arn(f"log-group:{name}"),
        region.now(),
        given.get("logGroupClass", "STANDARD"),
        key,
        protected=given.get("deletionProtectionEnabled", False),
        tags=tags,
    )
    return {}


def delete_log_group(region: Region, given: Given) -> Given:
    """Delete a group and all its events."""
    if region.group(given["logGroupName"]).protected:
        raise ServiceError("ValidationException", "The log group has deletion protection enabled.")
    del region.groups[given["logGroupName"]]
    return {}


def put_log_group_deletion_protection(region: Region, given: Given) -> Given:
    """Switch deletion protection."""
    region.identified(given["logGroupIdentifier"]).protected = given["deletionProtectionEnabled"]
    return {}


def describe_log_groups(region: Region, given: Given) -> Given:
    """List groups by name, a page at a time."""
    if "logGroupNamePrefix" in given and "logGroupNamePattern" in given:
        raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    prefix = given.get("logGroupNamePrefix", "")
    pattern = given.get("logGroupNamePattern", "").lower()
    wanted = {identifier.removesuffix(":*") for identifier in given.get("logGroupIdentifiers", ())}
    found = [
        _describe_group(group)
        for name, group in sorted(region.groups.items())
        if name.startswith(prefix)
        and pattern in name.lower()
        and (not wanted or name in wanted or group.arn in wanted)
        and given.get("logGroupClass", group.log_class) == group.log_class
    ]
    return page("logGroups", found, given)


def _describe_group(group: Group) -> Given:
    shown = {
        "logGroupName": group.name,
        "creationTime": group.created,
        "metricFilterCount": 0,
        "arn": f"{group.arn}:*",
        "logGroupArn": group.arn,
        "storedBytes": group.stored_bytes,
        "logGroupClass": group.log_class,
        "deletionProtectionEnabled": group.protected,
    }
    if group.retention:
        shown["retentionInDays"] = group.retention
    if group.kms_key:
        shown["kmsKeyId"] = group.kms_key
    return shown


def put_retention_policy(region: Region, given: Given) -> Given:
    """Set the days that events are kept."""
    days = given["retentionInDays"]
    if days not in RETENTION_DAYS:
        allowed = ", ".join(map(str, sorted(RETENTION_DAYS)))
        raise invalid(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{allowed}]"
        )
    region.group(given["logGroupName"]).retention = days
    return {}


def delete_retention_policy(region: Region, given: Given) -> Given:
    """Keep events forever."""
    region.group(given["logGroupName"]).retention = None
    return {}


def associate_kms_key(region: Region, given: Given) -> Given:
    """Set the key that new events of a group are encrypted with."""
    group = _keyed(region, given)
    group.kms_key = _checked_key(given["kmsKeyId"])
    return {}


def disassociate_kms_key(region: Region, given: Given) -> Given:
    """Take the key from a group."""
    _keyed(region, given).kms_key = ""
    return {}


def _keyed(region: Region, given: Given) -> Group:
    if ("logGroupName" in given) == ("resourceIdentifier" in given):
        raise invalid("Exactly one of logGroupName and resourceIdentifier must be specified")
    return region.identified(given.get("logGroupName") or given["resourceIdentifier"])


def _checked_key(arn: str) -> str:
    if arn and not _KMS_KEY.fullmatch(arn):
        raise invalid(f"The specified KMS Key Id is not a valid key ARN: {arn}")
    return arn
