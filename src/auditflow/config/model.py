"""The configuration: what `auditflow.yaml` may say. Frozen, checked, offline.

A pipeline reads in the order in which events pass through it: condition, sample, transformers, sink.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo, field_validator
from pydantic.json_schema import SkipJsonSchema

from auditflow.config.tls import TlsConfig
from auditflow.errors import AuditFlowError
from auditflow.event.model import PLATFORM_TENANT, TENANT_PATTERN
from auditflow.ingest.admission import Quota
from auditflow.ingest.auth.settings import AuthConfig, Network
from auditflow.ingest.redaction.config import RedactionConfig
from auditflow.pipelines.decide.condition import Condition
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.plugins import Catalogue, SinkEntry, TransformerEntry
from auditflow.secrets.aws_secrets_manager import AwsSecretsManager
from auditflow.secrets.references import Sealed, seal
from auditflow.settings import LocatedPath, Settings, misfit
from auditflow.sinks._base import Properties
from auditflow.units import ByteSize, Duration

PIPELINE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file is checked against; handed to the models as validation context."""

    catalogue: Catalogue
    folder: Path
    """Where the file lies: relative paths in it start there."""
    tenant: str = PLATFORM_TENANT
    """Whose secrets its pipelines use."""


Positive = Field(gt=0)
Port = Annotated[int, Field(ge=0, le=65535)]


def _host_name(name: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,253}|[0-9a-fA-F:.]{2,45}", name, re.ASCII):
        raise misfit("expected the name or address of a host", "write it without scheme, port and path")
    return name.lower().rstrip(".")


HostName = Annotated[str, AfterValidator(_host_name)]


class TransformerConfig(Settings):
    """A transformer and what it is told."""

    name: str
    """Name of the transformer; `zero` passes events through untouched."""
    properties: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Whatever the transformer understands."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if isinstance(info.context, Surroundings):
            _check(info.context.catalogue.get_transformer, name)
        return name


class SinkChoice(Settings):
    """A sink and its properties."""

    name: str
    """Name of the sink."""
    properties: Annotated[
        Properties | dict[str, str] | SkipJsonSchema[Sealed],
        Field(validate_default=True, default_factory=dict),
    ]
    """The sink's own properties: `auditflow sinks NAME` lists them. Secrets are written ${secretRef:key}."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if isinstance(info.context, Surroundings):
            _check(info.context.catalogue.get_sink, name)
        return name

    @field_validator("properties", mode="plain")
    @classmethod
    def _checked_by_the_sink(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(info.context, Surroundings) or "name" not in info.data:
            return given
        parse = info.context.catalogue.get_sink(info.data["name"]).parse
        return seal(given, info.context.tenant, parse)


class FallbackConfig(SinkChoice):
    """Where events go while the sink fails for long."""

    backfill: bool = False
    """Whether the sink gets afterwards what went here; until then the journal keeps those events."""


class SinkConfig(SinkChoice):
    """Where a pipeline's events go."""

    fallback: FallbackConfig | None = None
    """Another sink, which takes over when this one has failed for delivery.fallback-after."""

    @field_validator("fallback")
    @classmethod
    def _elsewhere(cls, fallback: FallbackConfig | None, info: ValidationInfo) -> FallbackConfig | None:
        given = info.data.get("name"), info.data.get("properties")
        if fallback is not None and (fallback.name, fallback.properties) == given:
            raise misfit("the fallback is the sink itself", "choose another destination, or leave it out")
        return fallback


_REFUSED: Final = TransformerConfig(name="refused")
"""Stands in for a transformer that was given and refused, so that it still counts as given."""


class PipelineConfig(Settings):
    """Which events go where."""

    name: Annotated[str, Field(pattern=PIPELINE_NAME)]
    """Name of the pipeline, unique; its progress in the journal is kept under it."""
    enabled: bool = True
    """Whether the pipeline runs."""
    condition: Condition | None = None
    """Which events it takes; without one, every event."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the events to keep, chosen by event id: every pipeline keeps the same ones."""
    transformer: TransformerConfig | None = None
    """The one transformer; short for a list of one in `transformers`."""
    transformers: Annotated[tuple[TransformerConfig, ...], Field(validate_default=True)] = ()
    """Transformers in the order in which events pass through them; none given means `zero`."""
    sink: SinkConfig
    """Where the events go."""
    delivery: DeliveryPolicy = DeliveryPolicy()
    """How hard to try; what it leaves out is as in `delivery` at the top."""

    @field_validator("transformers")
    @classmethod
    def _one_way_to_say_it(
        cls, given: tuple[TransformerConfig, ...], info: ValidationInfo
    ) -> tuple[TransformerConfig, ...]:
        single = info.data.get("transformer", _REFUSED)
        if given and single:
            raise misfit("given along with transformer", "keep one of the two")
        return given or (single or TransformerConfig(name="zero"),)


class JournalConfig(Settings):
    """Where accepted events are kept, how many and how long."""

    path: LocatedPath | None = None
    """The journal's folder; without it, in the data directory."""
    max_size: Annotated[ByteSize, Positive] = 10 * 2**30
    """Size at which publishing is refused until pipelines catch up. One tenant's backlog may take half of it."""
    retention: Duration = 86400.0
    """How long delivered events stay for look-up and replay."""
    dedup_window: Duration = 86400.0
    """How long an event id is remembered, to recognise a repeat."""


class DeadLettersConfig(Settings):
    """How many dead letters are kept, and how long. Status warns when four fifths are reached."""

    max_count: Annotated[int, Positive] = 1_000_000
    """Dead letters of one pipeline at which it stops taking events, until some are replayed or purged."""
    max_age: Annotated[Duration, Positive] | None = None
    """Age, since the last failure, at which a dead letter is deleted; without it, none ever is."""


class ServerConfig(Settings):
    """Where AuditFlow listens, and how much it takes at once."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port for publishing and operating; 0 takes any free one."""
    sink_host: str = "127.0.0.1"
    """Address the sink service listens on; its callers bring sinks' properties of their own."""
    sink_port: Port = 8082
    """Port of the sink service; 0 takes any free one."""
    hosts: tuple[HostName, ...] = ()
    """Names (without a port) that callers may call AuditFlow by; loopback's always may. Without `auth` no other may."""
    sink_service_may_reach: tuple[Network, ...] = ()
    """Private networks (CIDR) that sinks' properties in calls of the sink service may lead to; without `auth`, loopback too."""
    tls: TlsConfig | None = None
    """Certificates, for both ports; without them it is plain HTTP."""
    max_request_bytes: Annotated[ByteSize, Positive] = 16 * 2**20
    """Largest request body, after inflation."""
    max_event_bytes: Annotated[ByteSize, Positive] = 4 * 2**20
    """Largest single event."""
    max_request_events: Annotated[int, Positive] = 10_000
    """Most events in one request."""
    shutdown_timeout: Duration = 25.0
    """How long requests and deliveries in flight may take to finish when AuditFlow stops."""

    @property
    def scheme(self) -> str:
        """What the ports speak: `https` with certificates, else `http`."""
        return "https" if self.tls else "http"

    @field_validator("sink_port")
    @classmethod
    def _two_ports(cls, sink_port: int, info: ValidationInfo) -> int:
        if sink_port and sink_port == info.data.get("port"):
            raise misfit(f"{sink_port} is server.port already", "choose two different ports")
        return sink_port


class PluginsConfig(Settings):
    """Where plugins of your own lie."""

    directory: LocatedPath | None = None
    """Folder with the folders `sinks/` and `transformers/`, which hold one module for each plugin."""


class TenantsConfig(Settings):
    """Where the tenants are described."""

    directory: LocatedPath
    """Folder of the tenants' files, one `*.yaml` or `*.yml` for each; what changes in it counts within five seconds."""

    @field_validator("directory")
    @classmethod
    def _there(cls, directory: Path, info: ValidationInfo) -> Path:
        if isinstance(info.context, Surroundings) and not directory.is_dir():
            raise misfit("there is no such folder", "create it, or correct the path")
        return directory


class TenantConfig(Settings):
    """One tenant: whether and how many of its events are accepted, and what happens to them."""

    tenant_id: Annotated[
        str,
        Field(
            pattern=TENANT_PATTERN,
            alias="tenantId",
            validation_alias=AliasChoices("tenantId", "tenant-id"),
        ),
    ]
    """Id of the tenant, as in its events."""
    enabled: bool = True
    """Whether its events are accepted and its pipelines run."""
    quota: Quota = Quota()
    """How many of its events are accepted; without it, all."""
    redaction: RedactionConfig = RedactionConfig()
    """What is redacted in its events besides what `redaction` in `auditflow.yaml` says, and after it."""
    delivery: DeliveryPolicy = DeliveryPolicy()
    """How hard its pipelines try that do not say otherwise; what it leaves out is as in `auditflow.yaml`."""
    pipelines: tuple[PipelineConfig, ...] = ()
    """What happens to its events, and to nobody else's."""

    @field_validator("tenant_id", mode="before")
    @classmethod
    def _not_reserved(cls, tenant_id: object) -> object:
        if tenant_id == PLATFORM_TENANT:
            raise misfit(
                f"{PLATFORM_TENANT} is the owner of events without a tenant",
                "write its pipelines at the top of auditflow.yaml",
            )
        return tenant_id


class SecretsConfig(Settings):
    """Where the secrets are that sinks' properties refer to; without a place, the environment."""

    directory: LocatedPath | None = None
    """Folder with a folder for each tenant and a file in it for each secret, as Kubernetes mounts Secrets."""
    aws_secrets_manager: AwsSecretsManager | None = None
    """AWS Secrets Manager: one secret for each tenant, which holds a JSON object of keys and texts."""

    @field_validator("aws_secrets_manager")
    @classmethod
    def _one_place(cls, given: AwsSecretsManager | None, info: ValidationInfo) -> AwsSecretsManager | None:
        if given is not None and info.data.get("directory") is not None:
            raise misfit("given along with directory", "keep one of the two")
        return given


class Config(Settings):
    """The configuration of AuditFlow."""

    pipelines: tuple[PipelineConfig, ...] = ()
    """What happens to events: each pipeline gets every one of them; with tenants, those that name no tenant."""
    tenants: TenantsConfig | None = None
    """Where the tenants are described; without it, everybody's events are accepted and go to all pipelines."""
    secrets: SecretsConfig = SecretsConfig()
    """Where the secrets are that sinks' properties refer to; without it, in the environment."""
    delivery: DeliveryPolicy = DeliveryPolicy()
    """How hard pipelines try that do not say otherwise."""
    redaction: RedactionConfig = RedactionConfig()
    """What is masked, hashed or dropped in every event before it is stored."""
    journal: JournalConfig = JournalConfig()
    """Where accepted events are kept, how many and how long."""
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    """How many dead letters are kept, and how long."""
    server: ServerConfig = ServerConfig()
    """Where AuditFlow listens, and how much it takes at once."""
    auth: AuthConfig | None = None
    """Who may call. Without it AuditFlow listens on loopback only, and whoever reaches it there may do everything."""
    plugins: PluginsConfig = PluginsConfig()
    """Where plugins of your own lie."""


def _check(look_up: Callable[[str], SinkEntry | TransformerEntry], name: str) -> None:
    try:
        look_up(name).check()
    except AuditFlowError as error:
        raise misfit(str(error), error.hint) from None
