"""Every error AuditFlow raises on purpose.

The docstring of a class is its message: a template filled with the facts given to the constructor.
``hint`` is the command or setting that fixes it. ``code`` is what an HTTP answer, a dead letter or a log
line calls it, so that a person can search for it.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final


class AuditFlowError(Exception):
    """Something went wrong in AuditFlow."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    hint_template: ClassVar[str] = ""

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**facts))
        self.hint = self.hint_template.format(**facts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.facts))

    def explained(self) -> str:
        """Give the message and, on a second line, the hint."""
        return f"{self}\n{self.hint}" if self.hint else str(self)


def _rebuild(kind: type[AuditFlowError], facts: dict[str, object]) -> AuditFlowError:
    return kind(**facts)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    """Where in the document, e.g. ``pipelines[0].sink.name``; empty for the document as a whole."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " + (f"{self.path}: " if self.path else "")
        return f"{place}{self.message}" + (f"\n    hint: {self.hint}" if self.hint else "")


class ConfigError(AuditFlowError):
    """The configuration has problems: every one of them is in `problems`."""

    code = "CONFIG_INVALID"

    def __init__(self, *, problems: Sequence[Problem]) -> None:
        super().__init__(problems=problems)
        self.problems = list(problems)
        self.args = ("\n".join(str(problem) for problem in problems),)


class MissingExtra(AuditFlowError):
    """{what} needs the Python package {package}, which is not installed."""

    code = "MISSING_EXTRA"
    hint_template = "Install it with: pip install 'auditflow-server[{extra}]'"


class PluginNotFound(AuditFlowError):
    """There is no {kind} named {name!r}."""

    code = "PLUGIN_NOT_FOUND"
    hint_template = "{suggestion}"


class PluginBroken(AuditFlowError):
    """The {kind} {name!r} could not be loaded from {origin}: {reason}."""

    code = "PLUGIN_BROKEN"
    hint_template = "Fix the module and start again; the other plugins are not affected."


class PluginDirectoryMissing(AuditFlowError):
    """The plugin directory {path} does not exist."""

    code = "PLUGIN_DIRECTORY_MISSING"
    hint_template = (
        "Create it with the folders sinks/ and transformers/, or correct --plugins or plugins.directory."
    )


class CommandRefused(AuditFlowError):
    """{reason}."""

    code = "COMMAND_REFUSED"

    def __init__(self, *, reason: str, status: int) -> None:
        super().__init__(reason=reason, status=status)
        self.status = status


class CommandWaits(AuditFlowError):
    """The delivery process has not answered within {seconds} s; what was asked is kept and done when it runs."""

    code = "DELIVERY_UNAVAILABLE"
    hint_template = "Look into its log, or start it: auditflow serve --role delivery"


class JournalFull(AuditFlowError):
    """The journal holds {size} of at most {limit}, all of it still awaited by a pipeline."""

    code = "PUBLISH_FAILED"
    hint_template = "See which pipeline is behind with `auditflow status`, fix its destination, or raise journal.max-size."


class TooMuchArriving(AuditFlowError):
    """Requests that have not arrived whole hold {size}, as much as the server keeps of them at once."""

    code = "SERVER_BUSY"
    hint_template = "Look for clients that send slowly, or for too many large requests at once."


class JournalUnavailable(AuditFlowError):
    """The journal at {path} cannot be written: {reason}."""

    code = "PUBLISH_FAILED"
    hint_template = "Free disk space or fix the disk or its permissions; AuditFlow tries again by itself."

    def __init__(self, **facts: object) -> None:
        super().__init__(**facts)
        reason = str(facts["reason"])
        self.hint = next((hint for part, hint in _HINTS_OF_SYSTEM.items() if part in reason), self.hint)


_WRITABLE: Final = "Let the user that AuditFlow runs as write there: chown or chmod."
_HINTS_OF_SYSTEM: Final = {
    os.strerror(number): hint
    for number, hint in (
        (errno.EMFILE, "Raise the limit on open files (ulimit -n; LimitNOFILE= of systemd) and restart."),
        (errno.ENFILE, "Raise the machine's limit on open files (sysctl fs.file-max)."),
        (
            errno.EFBIG,
            "Raise the limit on the size of files (ulimit -f; LimitFSIZE= of systemd) and restart.",
        ),
        (errno.EROFS, "Mount the file system so that it can be written."),
        (errno.EACCES, _WRITABLE),
        (errno.EPERM, _WRITABLE),
    )
}
"""What mends what the operating system says, by its words."""


class DataDirectoryGone(AuditFlowError):
    """The data directory {path} was removed or replaced while AuditFlow ran."""

    code = "DATA_DIRECTORY_GONE"
    hint_template = "Put it back, or restore a backup, and start AuditFlow again; without, it begins anew."


class JournalDamaged(AuditFlowError):
    """The journal at {path} is damaged: {reason}."""

    code = "JOURNAL_DAMAGED"
    hint_template = "Restart AuditFlow: it sets the damaged file aside, saves what can be read and continues."


class JournalOfAnotherVersion(AuditFlowError):
    """{path} was written by another version of AuditFlow: its format is {found}, this version's is {expected}."""

    code = "JOURNAL_OF_ANOTHER_VERSION"
    hint_template = (
        "Run the version that wrote it until its events are delivered, or choose another --data-dir."
    )


class DataDirectoryUnusable(AuditFlowError):
    """The data directory {path} cannot be used: {reason}."""

    code = "DATA_DIRECTORY_UNUSABLE"
    hint_template = "{suggestion}"


class TooFewFiles(AuditFlowError):
    """No more than {limit} files may be open at once, and AuditFlow needs {least} at least."""

    code = "TOO_FEW_FILES"
    hint_template = (
        "Raise the limit to {enough} or more: ulimit -n {enough}, or LimitNOFILE={enough} of systemd."
    )


class DataDirectoryInUse(AuditFlowError):
    """The data directory {path} is in use by {holder}."""

    code = "DATA_DIRECTORY_IN_USE"
    hint_template = "Stop that process, or give this one a directory of its own with --data-dir."


class AddressInUse(AuditFlowError):
    """Cannot listen on {host}:{port}: {reason}."""

    code = "ADDRESS_IN_USE"
    hint_template = "Stop what listens there, or choose another port with {flag}."


class InvalidRequest(AuditFlowError):
    """{reason}."""

    code = "VALIDATION_ERROR"

    def __init__(self, *, status: int = 400, **facts: object) -> None:
        super().__init__(**facts)
        self.status = status
        """HTTP status of the answer."""


class ReservedEvent(InvalidRequest):
    """Events with sourceSystem 'auditflow' and an eventType that begins with 'auditflow.' are AuditFlow's own."""

    code = "FORBIDDEN"
    hint_template = "Give the event another sourceSystem or eventType."

    def __init__(self, *, status: int = 403) -> None:
        super().__init__(status=status)


class Unauthorized(AuditFlowError):
    """Authentication is required: {reason}."""

    code = "UNAUTHORIZED"
    status: ClassVar[int] = 401
    hint_template = (
        "Send an API key (auditflow keys create) or a token as `Authorization: Bearer …`; "
        "auditflow's own commands take it from the variable AUDITFLOW_TOKEN."
    )

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says (RFC 6750 §3): the error is named only where a credential was sent."""
        return 'Bearer realm="auditflow"' + (', error="invalid_token"' if self.facts["sent"] else "")


class Forbidden(AuditFlowError):
    """The credential is good, but not for this: it lacks the scope {scope}."""

    code = "FORBIDDEN"
    status: ClassVar[int] = 403
    hint_template = "Use a key or token with that scope: auditflow keys create --name … --scope {scope}"

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says (RFC 6750 §3)."""
        return f'Bearer realm="auditflow", error="insufficient_scope", scope="{self.facts["scope"]}"'


class ForeignHost(AuditFlowError):
    """This server does not go by the name {host}."""

    code = "FORBIDDEN"
    status: ClassVar[int] = 403
    hint_template = "Call it by localhost or its loopback address, or add the name to server.hosts."


class ForeignPage(AuditFlowError):
    """A web page of {origin} may change nothing here."""

    code = "FORBIDDEN"
    status: ClassVar[int] = 403
    hint_template = (
        "Send the call from a service, without the headers Origin and Sec-Fetch-Site; if it is a page of this server's "
        "own, add the name it is loaded from to server.hosts."
    )


class TokensUncheckable(AuditFlowError):
    """Tokens cannot be checked now: the keys of the identity provider are not at hand."""

    code = "AUTHENTICATION_UNAVAILABLE"
    status: ClassVar[int] = 503
    hint_template = "The log says why; see auth.jwt.jwks-url or jwks-file. AuditFlow tries again by itself."


class KeysUnusable(AuditFlowError):
    """The file of API keys {path} cannot be used: {reason}."""

    code = "KEYS_UNUSABLE"
    hint_template = (
        "Fix the file or its permissions, or take it from a backup; --file or --data-dir says where it is."
    )


class NoSuchKey(AuditFlowError):
    """There is no API key with the id {id!r} in {path}."""

    code = "NO_SUCH_KEY"
    hint_template = "List the keys with: auditflow keys list"


class OpenToAnyone(AuditFlowError):
    """Whoever reaches {host} could publish, read and purge: it is no loopback address, and `auth` is not configured."""

    code = "OPEN_TO_ANYONE"
    hint_template = (
        "Write `auth: {{api-keys: {{}}}}` into the configuration and make keys with `auditflow keys create`, or listen on "
        "127.0.0.1 with {flag}. Only where everything in front of it authenticates: "
        "`auth: {{insecure-allow-anyone: true}}`. See docs/how-to/secure.md."
    )


class TenantRefused(AuditFlowError):
    """Events of tenant {tenant!r} are not accepted."""

    code = "TENANT_REFUSED"
    status: ClassVar[int] = 403
    """HTTP status of the answer."""


class TenantNotProvisioned(TenantRefused):
    """Tenant {tenant!r} is not provisioned."""

    code = "TENANT_NOT_PROVISIONED"
    hint_template = "Put a file with `tenantId: {tenant}` into the folder tenants.directory."


class TenantDisabled(TenantRefused):
    """Tenant {tenant!r} is disabled."""

    code = "TENANT_DISABLED"
    hint_template = "Set `enabled: true` in the tenant's file."


class TenantBacklogFull(TenantRefused):
    """Tenant {tenant!r} has {size} that wait for delivery, its share of the journal's {limit}: pipeline {pipeline} is behind."""

    code = "TENANT_BACKLOG_FULL"
    status = 503
    hint_template = "See why with `auditflow status`, fix its destination, or raise journal.max-size."


class TenantRateLimited(TenantRefused):
    """Tenant {tenant!r} is over its quota of {rate:g} events per second: try again in {retry_after} s."""

    code = "TENANT_RATE_LIMITED"
    status = 429
    hint_template = "Raise quota.rateLimitPerSec or quota.burst in the tenant's file."

    def __init__(self, *, retry_after: int, **facts: object) -> None:
        super().__init__(retry_after=retry_after, **facts)
        self.retry_after = retry_after
        """Seconds until the quota allows as many events."""


class SecretMissing(AuditFlowError):
    """The secret {key!r} of tenant {tenant!r} is missing: {place} is not there, or empty."""

    code = "SECRET_MISSING"
    hint_template = "{hint}"


class SecretUnreadable(AuditFlowError):
    """The secrets of tenant {tenant!r} cannot be read from {place}: {reason}."""

    code = "SECRET_UNREADABLE"
    hint_template = "{hint}"


class SecretUnfit(AuditFlowError):
    """With the secrets of tenant {tenant!r} in place, {sink} does not accept its properties: {reason}."""

    code = "SECRET_UNFIT"
    hint_template = "Correct what these secrets hold: {keys}."


class SecretsUnavailable(AuditFlowError):
    """The secrets of tenant {tenant!r} cannot be read from {place} now: {reason}."""

    code = "SECRETS_UNAVAILABLE"
    hint_template = "Check that {place} can be reached from here; AuditFlow keeps trying."


class RedactionFailed(InvalidRequest):
    """The event cannot be redacted, so it is not accepted: {reason}."""

    code = "REDACTION_FAILED"
    hint_template = "Change the event, or the rules under redaction."

    def __init__(self, *, reason: str, status: int = 422) -> None:
        super().__init__(reason=reason, status=status)


class EgressDenied(AuditFlowError):
    """{what}: the sink service does not connect to private, local or reserved addresses for its callers."""

    code = "TARGET_REFUSED"
    hint_template = "Add its network to server.sink-service-may-reach, and restart."


class SinkBlocked(AuditFlowError):
    """{destination} cannot take events; the cause is {reason!r}."""

    code = "SINK_BLOCKED"
    hint_template = "{hint}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give ``did you mean x?`` for the known name closest to `name`, or nothing when none is close."""
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=5)
    swapped = (one for one in close if sorted(one) == sorted(name.lower()))  # the likeliest slip of all
    return f"did you mean {by_lower_case[next(swapped, close[0])]}?" if close else ""


class PublishGivenUp(AuditFlowError):
    """{url} does not take the events: {reason}. {accepted} were accepted before."""

    code = "PUBLISH_GIVEN_UP"
    hint_template = (
        "Is `auditflow serve` running, is --url right, does it want a key in AUDITFLOW_TOKEN? "
        "Publishing events with ids again is safe."
    )


class UnreadableEvents(AuditFlowError):
    """The events in {source} cannot be read: {reason}."""

    code = "UNREADABLE_EVENTS"
    hint_template = "Give NDJSON, one event a line, or a .json file with one event or an array of events."


class ServerUnreachable(AuditFlowError):
    """AuditFlow cannot be reached at {url}: {reason}."""

    code = "SERVER_UNREACHABLE"
    hint_template = "Start it with `auditflow serve`, or say where it is with --url; `auditflow --ca FILE` says whose certificate to trust."


class AccessUnusable(AuditFlowError):
    """The credential cannot be used: {what}: {reason}."""

    code = "ACCESS_UNUSABLE"
    hint_template = "See --token-file, --ca and --client-certificate in: auditflow --help"


class ServerRefuses(AuditFlowError):
    """{reason}."""

    code = "SERVER_REFUSES"
    hint_template = "{hint}"


class DemoFailed(AuditFlowError):
    """The demo did not work out: {reason}."""

    code = "DEMO_FAILED"
    hint_template = "{suggestion}"


class AddressUnusable(AuditFlowError):
    """Cannot listen on {host!r}: {reason}."""

    code = "ADDRESS_UNUSABLE"
    hint_template = "Give an address of this machine with {flag}: 127.0.0.1, or 0.0.0.0 for all of them."


class PartsUnusable(AuditFlowError):
    """The parts cannot be joined to an event: {reason}."""

    code = "PARTS_UNUSABLE"
    hint_template = "Read every message with the same sha256: their part counts from 1 to parts."


class LogsUnreadable(AuditFlowError):
    """Cannot read {what} in {region}: {reason}."""

    code = "LOGS_UNREADABLE"
    hint_template = "{hint}"


class QueryUnfinished(AuditFlowError):
    """The query in {region} ended as {status}, without a result."""

    code = "QUERY_UNFINISHED"
    hint_template = "{suggestion}"
