"""The properties of aws_cloudwatch_sink, checked as far as that can be done without asking AWS."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from auditflow.settings import misfit
from auditflow.sinks._aws.properties import AwsProperties, blank_is_absent, check_arn
from auditflow.sinks._base import Advice, Use
from auditflow.sinks.aws_cloudwatch_sink.advice import advice_on
from auditflow.sinks.aws_cloudwatch_sink.packing import MAX_BYTES, MAX_EVENTS, OVERHEAD
from auditflow.sinks.aws_cloudwatch_sink.templates import GROUP, STREAM, Template
from auditflow.units import ByteSize, Duration

RETENTION_DAYS: Final = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""What PutRetentionPolicy takes (its API reference)."""
MAX_TAGS: Final = 50
"""Tags of a log group, with up to 128 characters in a key and 256 in a value (CreateLogGroup API reference)."""

_KMS_KEY: Final = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]{1,128}$"
_GROUP_SCHEMA: Final = r"^(?!aws/)[.\-_/#A-Za-z0-9]+(\{\{[^{}]+\}\}[.\-_/#A-Za-z0-9]*)*$"
_STREAM_SCHEMA: Final = r"^([^:*]|:-)+$"
_is_tag = re.compile(r"[\w\s.:/=+\-@]*").fullmatch


def _log_group(name: str) -> str:
    Template(name, GROUP)
    return name


def _log_stream(name: str) -> str:
    Template(name, STREAM)
    return name


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        at = bisect(RETENTION_DAYS, days)
        near = " or ".join(str(day) for day in RETENTION_DAYS[max(0, at - 1) : at + 1])
        message = f"CloudWatch Logs keeps events for {', '.join(map(str, RETENTION_DAYS))} days, or forever"
        raise misfit(message, f"did you mean {near}?" if days > 0 else "leave it out to keep them forever")
    return days


def _kms_key(arn: str) -> str:
    example = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    return check_arn(arn, _KMS_KEY, example)


def _tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise misfit(f"a log group has at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:  # noqa: PLR2004 - see MAX_TAGS
            raise misfit(f"tag {key[:128]!r}: a key has 1 to 128 characters, a value at most 256")
        if not (_is_tag(key) and _is_tag(value)):
            raise misfit(f"tag {key!r}: a tag is made of letters, digits, spaces and _ . : / = + - @")
        if key.lower().startswith("aws:"):
            raise misfit(f"tag {key!r}: keys that begin with aws: are reserved by AWS")
    return tags


LogGroupName = Annotated[
    str, AfterValidator(_log_group), WithJsonSchema({"type": "string", "pattern": _GROUP_SCHEMA})
]
LogStreamName = Annotated[
    str, AfterValidator(_log_stream), WithJsonSchema({"type": "string", "pattern": _STREAM_SCHEMA})
]
Retention = Annotated[
    int, AfterValidator(_retention), WithJsonSchema({"type": "integer", "enum": list(RETENTION_DAYS)})
]
KmsKey = Annotated[str, AfterValidator(_kms_key), WithJsonSchema({"type": "string", "pattern": _KMS_KEY})]
LogGroupClass = Literal["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"]


class CloudWatchProperties(AwsProperties):
    """Where events go, and how many at once. Limits and name patterns are those of the CloudWatch Logs API."""

    log_group: LogGroupName
    """Log group; may hold fields of the event behind fixed text: `/acme/{{ tenantId:-none }}`."""
    log_stream: LogStreamName = "auditflow"
    """Log stream; may hold fields of the event: `{{ sourceSystem }}`."""
    create_log_group: bool = True
    """Create the log group when a put does not find it."""
    create_log_stream: bool = True
    """Create the log stream when a put does not find it."""
    retention_in_days: Annotated[Retention | None, blank_is_absent] = None
    """Days that a log group created by the sink keeps events; set before the first event. Default: forever."""
    kms_key_id: Annotated[KmsKey | None, blank_is_absent] = None
    """ARN of the KMS key that a log group created by the sink is encrypted with, from its first event on."""
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(default_factory=dict)
    """Tags of a log group created by the sink."""
    log_group_class: Annotated[LogGroupClass | None, blank_is_absent] = None
    """Class of a log group created by the sink; CloudWatch Logs cannot change it later. Default: STANDARD."""
    timestamp: Literal["event", "delivery"] = "event"
    """Time under which an event is filed: its own (`eventTime`, else `timestamp`), or that of its delivery."""
    out_of_window: Literal["clamp", "dead-letter"] = "clamp"
    """What becomes of events over 14 days (or the retention) old or 2 hours ahead: filed under now, or refused."""
    oversize: Literal["split", "dead-letter"] = "split"
    """What becomes of events over 1,048,550 bytes: delivered as linked parts, or refused."""
    compression: Literal["gzip", "none"] = "gzip"
    """Compression of requests."""
    ordering: Literal["parallel", "ordered"] = "parallel"
    """`ordered` has one request in flight for each stream, oldest first, and delivers one batch after the other."""
    flush_interval: Duration = 1.0
    """How long to wait for a request to fill."""
    max_batch_events: Annotated[int, Field(ge=1, le=MAX_EVENTS)] = MAX_EVENTS
    """Events per request."""
    max_batch_bytes: Annotated[ByteSize, Field(ge=OVERHEAD + 1, le=MAX_BYTES)] = MAX_BYTES
    """Bytes per request, counted as AWS does: messages in UTF-8 and 26 for each event."""
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at the same time."""

    @classmethod
    def advice(cls, uses: Sequence[Use[Self]]) -> Iterable[Advice]:
        """Advise on keys, on groups that the sink creates, and on environments that share one."""
        return advice_on(uses)

    @field_validator("kms_key_id")
    @classmethod
    def _key_of_the_region(cls, key: str | None, info: ValidationInfo) -> str | None:
        region = info.data.get("region")
        if key and region and key.split(":")[3] != region:
            raise misfit(
                f"the key is in {key.split(':')[3]}, the log group in {region}", "use a key of its region"
            )
        return key

    @model_validator(mode="after")
    def _settings_of_a_group_that_is_created(self) -> Self:
        given = [name for name, value in self._of_the_group() if value]
        if given and not self.create_log_group:
            raise misfit(
                f"{', '.join(given)}: set when the sink creates the log group, but create-log-group is false",
                "leave them out, or let the sink create the group",
            )
        if self.log_group_class == "DELIVERY" and self.retention_in_days:
            raise misfit(
                "retention-in-days: a log group of the class DELIVERY keeps events for one day, always",
                "leave one of the two out",
            )
        return self

    def _of_the_group(self) -> list[tuple[str, Any]]:
        return [
            ("retention-in-days", self.retention_in_days),
            ("kms-key-id", self.kms_key_id),
            ("tags", self.tags),
            ("log-group-class", self.log_group_class),
        ]
