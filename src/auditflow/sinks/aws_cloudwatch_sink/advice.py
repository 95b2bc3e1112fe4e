"""What pipelines into CloudWatch Logs could do better: roles in place of keys, log groups made for their events."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from auditflow.sinks._aws.session import default_region
from auditflow.sinks._base import Advice, Use
from auditflow.sinks.aws_cloudwatch_sink.templates import GROUP, STREAM, Template

if TYPE_CHECKING:
    from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

_is_development = re.compile(r"(?<![a-z])(dev|development|staging)(?![a-z])", re.IGNORECASE).search
_is_production = re.compile(r"(?<![a-z])(prod|production)(?![a-z])", re.IGNORECASE).search

_is_date = re.compile(r"%[A-Za-z]").search
_EACH_ITS_OWN: Final = {("eventId",), ("eventTime",), ("timestamp",), ("correlationId",)}
"""Fields that hardly two events have in common."""

_A_ROLE: Final = (
    "leave the keys out and run as an IAM role (an instance profile, a task role, IRSA), which needs none"
)


def advice_on(uses: Sequence[Use[CloudWatchProperties]]) -> Iterator[Advice]:
    """Give the advice for each pipeline by itself, then for those that share a log group."""
    for use in uses:
        yield from _on_keys(use)
        yield from _on_a_new_group(use)
        yield from _on_names(use)
    yield from _on_shared_groups(uses)


def _on_keys(use: Use[CloudWatchProperties]) -> Iterator[Advice]:
    if not use.properties.secret_access_key:
        return
    if "secret-access-key" in use.from_environment:
        message = "access keys from the environment work, but a key stays valid until somebody replaces it"
        yield Advice(use.pipeline, message, f"where AuditFlow runs in AWS, {_A_ROLE}")
    else:
        message = "the secret of an access key is written in the file, for all who can read it"
        yield Advice(
            use.pipeline, message, f"{_A_ROLE}; or write secret-access-key: ${{AWS_SECRET_ACCESS_KEY}}"
        )


def _on_a_new_group(use: Use[CloudWatchProperties]) -> Iterator[Advice]:
    ours = use.properties
    if not ours.create_log_group:
        return
    keeps_a_day = ours.log_group_class == "DELIVERY"
    if not ours.retention_in_days and not keeps_a_day:
        yield Advice(
            use.pipeline,
            "the sink may create its log group without retention-in-days: its events would be kept, and paid for, forever",
            "set retention-in-days: 365, say; or create the group yourself and set create-log-group: false",
        )
    if not ours.kms_key_id:
        yield Advice(
            use.pipeline,
            "the sink may create its log group without kms-key-id: it would be encrypted, but not with a key of yours",
            "set kms-key-id: arn:aws:kms:… to decide who can decrypt the events",
        )


def _on_names(use: Use[CloudWatchProperties]) -> Iterator[Advice]:
    for name, kind in ((use.properties.log_group, GROUP), (use.properties.log_stream, STREAM)):
        template = Template(name, kind)
        if _is_date(template.literal):
            yield Advice(
                use.pipeline,
                f"{kind.property} holds a % as it is: a date in it is written as a field",
                "write {{ eventTime:%Y-%m-%d }}",
            )
        for field in template.fields:
            if field.path in _EACH_ITS_OWN and not field.date:
                yield Advice(
                    use.pipeline,
                    f"{kind.property} is another one for each event, by {field.path[0]}: a request and a log stream for each",
                    "write a field that many events share, such as sourceSystem, or a date: {{ eventTime:%Y-%m-%d }}",
                )


def _on_shared_groups(uses: Sequence[Use[CloudWatchProperties]]) -> Iterator[Advice]:
    groups = defaultdict(list)
    for use in uses:
        groups[_group(use.properties)].append(use)
    for sharing in groups.values():
        production = [use.pipeline for use in sharing if _environment(use) == "production"]
        for use in sharing:
            if production and _environment(use) == "development":
                yield Advice(
                    use.pipeline,
                    f"{use.pipeline} and {', '.join(production)} write into one log group",
                    "give development, staging and production a log group each, such as /aws/auditflow/development",
                )


def _group(ours: CloudWatchProperties) -> tuple[object, ...]:
    """Tell log groups apart: one name stands for another group in every region and account."""
    account = ours.role_arn.split(":")[4] if ours.role_arn else (ours.profile, ours.access_key_id)
    region = ours.region or (None if ours.profile else default_region())
    return ours.log_group, region, account, ours.endpoint_url


def _environment(use: Use[CloudWatchProperties]) -> str:
    """Give ``development`` or ``production`` as the names say; nothing when they say neither, or both."""
    names = f"{use.pipeline} {use.properties.log_stream}"
    if bool(_is_development(names)) == bool(_is_production(names)):
        return ""
    return "production" if _is_production(names) else "development"
