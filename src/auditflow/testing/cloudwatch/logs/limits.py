"""What each operation takes, and every documented limit on it.

The numbers and patterns are those of the CloudWatch Logs service model of 2014-03-28, which botocore ships;
a test compares this table with it. What depends on stored state or on time is checked by the operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import re2

from auditflow.testing.cloudwatch.protocol import ServiceError, invalid

MAX_BATCH_BYTES: Final = 1_048_576
"""Of one PutLogEvents: the sum of all messages in UTF-8, plus EVENT_OVERHEAD for each event."""
MAX_EVENT_BYTES: Final = 1_048_576
"""Of one event, EVENT_OVERHEAD included: a message has at most 1,048,550 bytes of UTF-8."""
EVENT_OVERHEAD: Final = 26
MAX_SPAN_MS: Final = 24 * 3_600_000
MAX_AHEAD_MS: Final = 2 * 3_600_000
MAX_AGE_MS: Final = 14 * 86_400_000
MAX_PAGE_BYTES: Final = 1_048_576
"""Of one answer of GetLogEvents or FilterLogEvents."""
MAX_PAGE_EVENTS: Final = 10_000
MAX_TAGS: Final = 50
MAX_QUERY_GROUPS: Final = 50
RETENTION_DAYS: Final = frozenset(
    (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)


@dataclass(frozen=True, slots=True)
class Rule:
    """The type of one member and its limits; `least` and `most` are of length, or of value for a number."""

    kind: type[Any]
    least: int | None = None
    most: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    item: Rule | None = None
    """Of a list's items or a map's values."""
    key: Rule | None = None
    """Of a map's keys."""


_GROUP = Rule(str, 1, 512, r"[\.\-_/#A-Za-z0-9]+")
_STREAM = Rule(str, 1, 512, r"[^:*]*")
_IDENTIFIER = Rule(str, 1, 2048, r"[\w#+=/:,.@-]*")
_RESOURCE = Rule(str, 1, 2048, r"[\w+=/:,.@\-\*]*")
_TAGGED = Rule(str, 1, 1011, r"[\w+=/:,.@-]*")
_KMS_KEY = Rule(str, None, 256)
_TAG_KEY = Rule(str, 1, 128, r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$")
_TAG_VALUE = Rule(str, None, 256, r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$")
_TAGS = Rule(dict, 1, MAX_TAGS, item=_TAG_VALUE, key=_TAG_KEY)
_TOKEN = Rule(str, 1)
_FLAG = Rule(bool)
_TIME = Rule(int, 0)
_CLASS = Rule(str, choices=("STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"))
_ENTITY_VALUE = Rule(str, 1, 512)
_QUERY_ID = Rule(str, 1, 256)

OPERATIONS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "CreateLogGroup": {
        "logGroupName*": _GROUP,
        "kmsKeyId": _KMS_KEY,
        "tags": _TAGS,
        "logGroupClass": _CLASS,
        "deletionProtectionEnabled": _FLAG,
    },
    "DeleteLogGroup": {"logGroupName*": _GROUP},
    "PutLogGroupDeletionProtection": {
        "logGroupIdentifier*": _IDENTIFIER,
        "deletionProtectionEnabled*": _FLAG,
    },
    "DescribeLogGroups": {
        "accountIdentifiers": Rule(list, 0, 20, item=Rule(str, 12, 12, r"^\d{12}$")),
        "logGroupNamePrefix": _GROUP,
        "logGroupNamePattern": Rule(str, 0, 512, r"[\.\-_/#A-Za-z0-9]*"),
        "nextToken": _TOKEN,
        "limit": Rule(int, 1, 50),
        "includeLinkedAccounts": _FLAG,
        "logGroupClass": _CLASS,
        "logGroupIdentifiers": Rule(list, 1, 50, item=_IDENTIFIER),
    },
    "CreateLogStream": {"logGroupName*": _GROUP, "logStreamName*": _STREAM},
    "DeleteLogStream": {"logGroupName*": _GROUP, "logStreamName*": _STREAM},
    "DescribeLogStreams": {
        "logGroupName": _GROUP,
        "logGroupIdentifier": _IDENTIFIER,
        "logStreamNamePrefix": _STREAM,
        "orderBy": Rule(str, choices=("LogStreamName", "LastEventTime")),
        "descending": _FLAG,
        "nextToken": _TOKEN,
        "limit": Rule(int, 1, 50),
    },
    "PutLogEvents": {
        "logGroupName*": _GROUP,
        "logStreamName*": _STREAM,
        "logEvents*": Rule(list, 1, 10_000),  # the items are checked by the operation, for speed
        "sequenceToken": _TOKEN,
        "entity": Rule(dict, item=Rule(dict, item=_ENTITY_VALUE)),
    },
    "GetLogEvents": {
        "logGroupName": _GROUP,
        "logGroupIdentifier": _IDENTIFIER,
        "logStreamName*": _STREAM,
        "startTime": _TIME,
        "endTime": _TIME,
        "nextToken": _TOKEN,
        "limit": Rule(int, 1, MAX_PAGE_EVENTS),
        "startFromHead": _FLAG,
        "unmask": _FLAG,
    },
    "FilterLogEvents": {
        "logGroupName": _GROUP,
        "logGroupIdentifier": _IDENTIFIER,
        "logStreamNames": Rule(list, 1, 100, item=_STREAM),
        "logStreamNamePrefix": _STREAM,
        "startTime": _TIME,
        "endTime": _TIME,
        "filterPattern": Rule(str, 0, 1024),
        "nextToken": _TOKEN,
        "limit": Rule(int, 1, MAX_PAGE_EVENTS),
        "startFromHead": _FLAG,
        "interleaved": _FLAG,
        "unmask": _FLAG,
    },
    "PutRetentionPolicy": {"logGroupName*": _GROUP, "retentionInDays*": Rule(int)},
    "DeleteRetentionPolicy": {"logGroupName*": _GROUP},
    "TagLogGroup": {"logGroupName*": _GROUP, "tags*": _TAGS},
    "UntagLogGroup": {"logGroupName*": _GROUP, "tags*": Rule(list, 1, item=_TAG_KEY)},
    "ListTagsLogGroup": {"logGroupName*": _GROUP},
    "TagResource": {"resourceArn*": _TAGGED, "tags*": _TAGS},
    "UntagResource": {"resourceArn*": _TAGGED, "tagKeys*": Rule(list, 0, MAX_TAGS, item=_TAG_KEY)},
    "ListTagsForResource": {"resourceArn*": _TAGGED},
    "AssociateKmsKey": {"logGroupName": _GROUP, "kmsKeyId*": _KMS_KEY, "resourceIdentifier": _RESOURCE},
    "DisassociateKmsKey": {"logGroupName": _GROUP, "resourceIdentifier": _RESOURCE},
    "StartQuery": {
        "queryLanguage": Rule(str, choices=("CWLI", "SQL", "PPL")),
        "logGroupName": _GROUP,
        "logGroupNames": Rule(list, item=_GROUP),
        "logGroupIdentifiers": Rule(list, item=_IDENTIFIER),
        "startTime*": _TIME,
        "endTime*": _TIME,
        "queryString*": Rule(str, 0, 10_000),
        "limit": Rule(int, 1, 100_000),
    },
    "GetQueryResults": {
        "queryId*": _QUERY_ID,
        "nextToken": Rule(str, None, 1024),
        "maxItems": Rule(int, 0, 10_000),
    },
    "StopQuery": {"queryId*": _QUERY_ID},
}
"""Operation → member → rule; the name of a required member ends in an asterisk."""


def check(operation: str, given: Mapping[str, Any]) -> None:
    """Raise the service's error unless `given` keeps to the operation's table."""
    rules = OPERATIONS[operation]
    for name, value in given.items():
        rule = rules.get(name) or rules.get(f"{name}*")
        if rule is None:
            raise invalid(f"Unknown member '{name}' in the request of {operation}")
        _check(rule, name, value)
    for name in rules:
        if name.endswith("*") and name[:-1] not in given:
            raise _violation(None, name[:-1], "Member must not be null")


def wrong_type(path: str, value: object, expected: type) -> ServiceError:
    """Build the error for a value of another JSON type."""
    found = type(value).__name__
    return ServiceError(
        "SerializationException", f"{path}: {found} can not be converted to {expected.__name__}"
    )


def _check(rule: Rule, path: str, value: Any) -> None:
    if not isinstance(value, rule.kind) or (rule.kind is int and isinstance(value, bool)):
        raise wrong_type(path, value, rule.kind)
    _check_size(rule, path, value)
    if rule.choices and value not in rule.choices:
        raise _violation(value, path, f"Member must satisfy enum value set: [{', '.join(rule.choices)}]")
    if rule.pattern is not None and not _matches(rule.pattern, value):
        raise _violation(value, path, f"Member must satisfy regular expression pattern: {rule.pattern}")
    if rule.item is not None:
        members: Iterable[tuple[Any, Any]] = value.items() if rule.kind is dict else enumerate(value, start=1)
        for name, item in members:
            if rule.key is not None:
                _check(rule.key, f"{path}.key", name)
            _check(rule.item, f"{path}.{name}", item)


def _check_size(rule: Rule, path: str, value: Any) -> None:
    if rule.kind is bool:
        return
    size, noun = (value, "value") if rule.kind is int else (len(value), "length")
    if rule.least is not None and size < rule.least:
        raise _violation(value, path, f"Member must have {noun} greater than or equal to {rule.least}")
    if rule.most is not None and size > rule.most:
        raise _violation(value, path, f"Member must have {noun} less than or equal to {rule.most}")


@cache
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern)


def _matches(pattern: str, text: str) -> bool:
    try:
        return _compiled(pattern).fullmatch(text) is not None
    except UnicodeEncodeError:  # a lone surrogate is in no class of characters
        return False


def _violation(value: object, path: str, constraint: str) -> ServiceError:
    shown = "null" if value is None else f"'{str(value)[:200]}'"
    return invalid(
        f"1 validation error detected: Value {shown} at '{path}' failed to satisfy constraint: {constraint}"
    )
