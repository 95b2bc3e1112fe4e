"""Reads the log groups of configured pipelines, with each pipeline's own region, credentials and endpoint."""
# Tested in tests/cli/aws/test_tail.py.

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import typer

from auditflow.errors import LogsUnreadable, did_you_mean
from auditflow.sinks._aws.properties import AwsProperties
from auditflow.sinks._aws.session import AwsSession, require_boto3
from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.errors import (
    MISSING,
    Place,
    classify,
    error_code,
    needs_new_credentials,
)
from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery

T = TypeVar("T")

ATTEMPTS: Final = 4
"""Of one call, while its fault may pass by itself; the pause before the next doubles from `FIRST_PAUSE`."""
FIRST_PAUSE: Final = 0.5
"""Seconds."""
ALL_GROUPS: Final = "*"
"""What a policy names for an action that is not of one log group."""
_IF_IT_STAYS: Final = "It may pass by itself; if it stays, let this machine reach the service: network, proxy-url, endpoint-url."
_NO_GROUP: Final = (
    "`auditflow doctor` tells whether the pipeline can create it; its first delivered event does."
)
_HINTS: Final = {
    MISSING: _NO_GROUP,
    "MalformedQueryException": "Fix the query: CloudWatch Logs Insights query syntax, its user guide.",
    "InvalidParameterException": "Fix --filter, or the query and its times.",
}
"""Error code → what fixes it, where that is another thing than for delivery."""


@dataclass(slots=True)
class Source:
    """Log groups that are read with the same region, credentials and endpoint."""

    session: AwsSession
    role_arn: str
    names: list[str] = field(default_factory=list)
    """Log groups whose names are known."""
    prefixes: list[str] = field(default_factory=list)
    """Beginnings of names that events complete."""

    def groups(self) -> list[str]:
        """Name the log groups, those that events have named included. Raises LogsUnreadable."""
        found = [name for prefix in self.prefixes for name in self._beginning_with(prefix)]
        return list(dict.fromkeys(self.names + found))

    def exists(self, name: str) -> bool:
        """Ask whether there is a log group of this name. Raises LogsUnreadable."""
        return name in self._beginning_with(name)

    def _beginning_with(self, prefix: str) -> Iterator[str]:
        asked = {"logGroupNamePrefix": prefix}
        while True:
            page = self.call(lambda client: client.describe_log_groups(**asked), ALL_GROUPS)
            yield from (each["logGroupName"] for each in page["logGroups"])
            if not page.get("nextToken"):
                return
            asked["nextToken"] = page["nextToken"]

    def call(self, use: Callable[[Any], T], log_group: str) -> T:
        """Call a function with the client: again after a fault that may pass, or that new credentials may fix.

        Raises LogsUnreadable, with the service's own error as its cause.
        """
        for attempt in range(ATTEMPTS):
            try:
                client = self.session.client()
            except Exception as error:
                raise self._unreadable(error, log_group) from error
            try:
                return use(client)
            except Exception as error:
                if needs_new_credentials(error) and attempt == 0:
                    self.session.renew(client)
                elif attempt + 1 == ATTEMPTS or not self._may_pass(error, log_group):
                    raise self._unreadable(error, log_group) from error
            time.sleep(FIRST_PAUSE * 2**attempt)
        raise AssertionError  # the last attempt returns or raises

    def _may_pass(self, error: Exception, log_group: str) -> bool:
        return error_code(error) not in _HINTS and (
            classify(error, self._place(log_group)).verdict is Verdict.RETRY
        )

    def _unreadable(self, error: Exception, log_group: str) -> LogsUnreadable:
        outcome = classify(error, self._place(log_group))
        hint = _HINTS.get(error_code(error)) or outcome.hint
        if not hint and outcome.verdict is Verdict.RETRY:
            hint = _IF_IT_STAYS
        if log_group == ALL_GROUPS:  # IAM knows these actions on every resource alone
            hint = _any_group("*", hint)
        what = "the log groups" if log_group == ALL_GROUPS else f"log group {log_group}"
        reason = (outcome.reason or outcome.code).rstrip(".")
        return LogsUnreadable(what=what, region=self.session.region, reason=reason, hint=hint)

    def _place(self, log_group: str) -> Place:
        return Place(self.session.region, log_group, "", self.role_arn)


@contextmanager
def sources(deliveries: Iterable[Delivery]) -> Iterator[list[Source]]:
    """Group pipelines by how they talk to AWS; connections are closed in the end. Raises MissingExtra."""
    require_boto3("aws_cloudwatch_sink")
    found: dict[tuple[object, ...], Source] = {}
    for each in deliveries:
        ours = each.properties
        key = (each.region, *(getattr(ours, name) for name in AwsProperties.model_fields if name != "region"))
        source = found.get(key)
        if source is None:
            session = AwsSession(ours, "logs", 1, lambda _client: None)
            source = found[key] = Source(session, ours.role_arn or "")
        fixed, templated, _ = ours.log_group.partition("{{")
        (source.prefixes if templated else source.names).append(fixed)
    try:
        yield list(found.values())
    finally:
        for source in found.values():
            source.session.close()


def chosen(deliveries: list[Delivery], pipeline: str) -> list[Delivery]:
    """Give the pipeline of this name, or all when it is empty. Raises typer.BadParameter."""
    those = [each for each in deliveries if pipeline in {"", each.pipeline}]
    if pipeline and not those:
        hint = did_you_mean(pipeline, [each.pipeline for each in deliveries])
        message = f"no enabled pipeline {pipeline!r} delivers to aws_cloudwatch_sink"
        raise typer.BadParameter(f"{message}; {hint}" if hint else message, param_hint="--pipeline")
    return those


def is_missing(error: LogsUnreadable) -> bool:
    """Tell whether the log group was not there."""
    return isinstance(error.__cause__, Exception) and error_code(error.__cause__) == MISSING


_any_group = re.compile(r'arn:[^\s"]+:log-group:\*:\*').sub
