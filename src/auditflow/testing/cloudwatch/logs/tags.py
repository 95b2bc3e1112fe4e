"""Operations on the tags of log groups, by name (the older three) and by ARN."""

from __future__ import annotations

from collections.abc import Iterable

from auditflow.testing.cloudwatch.logs.limits import MAX_TAGS
from auditflow.testing.cloudwatch.logs.state import Given, Group, Region
from auditflow.testing.cloudwatch.protocol import ServiceError, invalid


def tag_log_group(region: Region, given: Given) -> Given:
    """Add tags to a group, or replace their values."""
    group = region.group(given["logGroupName"])
    group.tags = checked_tags(group.tags, given["tags"])
    return {}


def tag_resource(region: Region, given: Given) -> Given:
    """Add tags to a group, or replace their values."""
    group = _tagged(region, given)
    group.tags = checked_tags(group.tags, given["tags"], "TooManyTagsException")
    return {}


def untag_log_group(region: Region, given: Given) -> Given:
    """Take tags from a group."""
    return _untag(region.group(given["logGroupName"]), given["tags"])


def untag_resource(region: Region, given: Given) -> Given:
    """Take tags from a group."""
    return _untag(_tagged(region, given), given["tagKeys"])


def list_tags_log_group(region: Region, given: Given) -> Given:
    """Give the tags of a group."""
    return {"tags": region.group(given["logGroupName"]).tags}


def list_tags_for_resource(region: Region, given: Given) -> Given:
    """Give the tags of a group."""
    return {"tags": _tagged(region, given).tags}


def _tagged(region: Region, given: Given) -> Group:
    """Find the group to tag: only groups are taggable, by an ARN without the trailing `:*`."""
    arn = given["resourceArn"]
    if not arn.startswith("arn:") or ":log-group:" not in arn or arn.endswith(":*") or ":log-stream:" in arn:
        raise invalid(
            f"The resourceArn {arn} does not name a log group (arn:aws:logs:REGION:ACCOUNT:log-group:NAME)"
        )
    return region.identified(arn)


def _untag(group: Group, keys: Iterable[str]) -> Given:
    for key in keys:
        group.tags.pop(key, None)
    return {}


def checked_tags(
    present: dict[str, str], added: dict[str, str], code: str = "InvalidParameterException"
) -> dict[str, str]:
    """Give the tags with the added ones, or raise the error `code` when they become too many."""
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid("aws: prefixed tag key names are not allowed for external use.")
    tags = present | added
    if len(tags) > MAX_TAGS:
        raise ServiceError(code, f"A resource can have at most {MAX_TAGS} tags.")
    return tags
