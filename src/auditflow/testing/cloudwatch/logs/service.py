"""The operations of CloudWatch Logs by name, and the resources that each is authorized on."""
# Tested in tests/testing/cloudwatch/logs/test_events.py.

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from auditflow.testing.cloudwatch.insights import queries as insights
from auditflow.testing.cloudwatch.logs import events, groups, limits, search, streams, tags
from auditflow.testing.cloudwatch.logs.state import Given, Region
from auditflow.testing.cloudwatch.protocol import ServiceError
from auditflow.testing.cloudwatch.sts.identities import Identity, authorize
from auditflow.testing.cloudwatch.sts.policy import Decision, decide
from auditflow.testing.cloudwatch.traffic import Request

_NAMES: Final = (
    re.compile(rb'"logGroupName"\s*:\s*"([^"\\]*)"'),
    re.compile(rb'"logStreamName"\s*:\s*"([^"\\]*)"'),
)

_OPERATIONS: Final[Mapping[str, Callable[[Region, Given], Given]]] = {
    "CreateLogGroup": groups.create_log_group,
    "DeleteLogGroup": groups.delete_log_group,
    "PutLogGroupDeletionProtection": groups.put_log_group_deletion_protection,
    "DescribeLogGroups": groups.describe_log_groups,
    "CreateLogStream": streams.create_log_stream,
    "DeleteLogStream": streams.delete_log_stream,
    "DescribeLogStreams": streams.describe_log_streams,
    "GetLogEvents": events.get_log_events,
    "FilterLogEvents": search.filter_log_events,
    "PutRetentionPolicy": groups.put_retention_policy,
    "DeleteRetentionPolicy": groups.delete_retention_policy,
    "TagLogGroup": tags.tag_log_group,
    "UntagLogGroup": tags.untag_log_group,
    "ListTagsLogGroup": tags.list_tags_log_group,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
    "AssociateKmsKey": groups.associate_kms_key,
    "DisassociateKmsKey": groups.disassociate_kms_key,
    "StartQuery": insights.start_query,
    "GetQueryResults": insights.get_query_results,
    "StopQuery": insights.stop_query,
}
"""PutLogEvents is apart: it notes in the log of requests what it was given."""


def perform(region: Region, caller: Identity, given: Given, request: Request) -> Given:
    """Check, authorize and carry out one operation."""
    if request.operation not in limits.OPERATIONS:
        raise ServiceError(
            "UnknownOperationException", f"This server does not know the operation {request.operation!r}."
        )
    limits.check(request.operation, given)
    authorize(caller, f"logs:{request.operation}", resources(region, request.operation, given))
    if given.get("tags") and request.operation == "CreateLogGroup":
        _authorize_tags(region, caller, given)
    if request.operation == "PutLogEvents":
        return events.put_log_events(region, given, request)
    return _OPERATIONS[request.operation](region, given)


def count(region: Region, caller: Identity, body: bytes, given: Given, request: Request) -> Given:
    """Carry out a PutLogEvents without decoding or keeping its events (counting mode)."""
    authorize(caller, "logs:PutLogEvents", resources(region, "PutLogEvents", given))
    region.stream(given["logGroupName"], given["logStreamName"])
    # In a message the quotes would be escaped, and nothing but a member's name is followed by a colon.
    request.events = request.stored = body.count(b'"timestamp":')
    request.bytes = len(body)
    return {"nextSequenceToken": "0" * 56}


def names_in(body: bytes) -> Given:
    """Find the group and stream of a PutLogEvents without decoding it."""
    found = [pattern.search(body) for pattern in _NAMES]
    texts = ["" if match is None else match.group(1).decode() for match in found]
    return {"logGroupName": texts[0], "logStreamName": texts[1]}


def resources(region: Region, operation: str, given: Given) -> list[str]:
    """Name what an operation acts on, as the service's AccessDeniedException does.

    DescribeLogGroups is authorized on no group in particular, whatever prefix it asks for.
    """
    if operation in {"TagResource", "UntagResource", "ListTagsForResource"}:
        return [str(given.get("resourceArn", ""))]
    if operation == "StartQuery":
        names = [_group_name(name) for name in insights.named(given)]
        return [region.arn(f"log-group:{name}:log-stream:") for name in names]
    group = named_group(given) if operation != "DescribeLogGroups" else ""
    return [region.arn(f"log-group:{group}:log-stream:{given.get('logStreamName', '')}")]


def named_group(given: Given) -> str:
    """Give the name of the group that a request is about, or nothing."""
    names = ("logGroupName", "logGroupIdentifier", "resourceIdentifier", "resourceArn")
    return _group_name(next((given[name] for name in names if isinstance(given.get(name), str)), ""))


def _group_name(identifier: str) -> str:
    is_arn = identifier.startswith("arn:")
    return identifier.partition(":log-group:")[2].removesuffix(":*") if is_arn else identifier


def _authorize_tags(region: Region, caller: Identity, given: Given) -> None:
    arn = region.arn(f"log-group:{given.get('logGroupName')}")
    allowed = caller.policies is None or any(
        decide(caller.policies, action, resource) is Decision.ALLOWED
        for action in ("logs:TagResource", "logs:TagLogGroup")
        for resource in (arn, f"{arn}:log-stream:")
    )
    if not allowed:
        raise ServiceError(
            "AccessDeniedException",
            f"User with accountId: {caller.account} is not authorized to perform CreateLogGroup with Tags",
        )
