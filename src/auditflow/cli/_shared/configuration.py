"""What commands about the configuration have in common: reading it, and its way to CloudWatch Logs."""
# Tested in tests/cli/test_check.py.

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from auditflow.config import Config, Running, SinkChoice, Tenants
    from auditflow.plugins import Catalogue
    from auditflow.sinks._aws.properties import AwsProperties
    from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery


def load(file: Path, plugins: Path | None) -> tuple["Config", "Catalogue"]:
    """Read the configuration and its plugins, as `serve` does. Raises ConfigError."""
    from auditflow.apps.configuration.active import ConfigFile

    return ConfigFile(file, plugins).load(None)


def load_tenants(config: "Config", catalogue: "Catalogue") -> "Tenants | None":
    """Read the tenants that the configuration speaks of, as `serve` does; None where it speaks of none."""
    from auditflow import config as configuration
    from auditflow.apps.configuration.tenants import terms

    if config.tenants is None:
        return None
    return configuration.load_tenants(config.tenants.directory, terms(config, catalogue))


def tell_problems(tenants: "Tenants | None") -> bool:
    """Print, where errors go, what is wrong with files of tenants, whose pipelines are left out; tell whether anything is."""
    problems = tenants.problems if tenants else ()
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
    return bool(problems)


def sinks(pipelines: Iterable["Running"]) -> Iterator[tuple[str, "SinkChoice"]]:
    """Give the sinks of the pipelines, those of fallbacks too, each with the name of its pipeline."""
    for pipeline in pipelines:
        for sink in (pipeline.config.sink, pipeline.config.sink.fallback):
            if sink:
                yield pipeline.name, sink


def visible(sinks: Iterable[tuple[str, "SinkChoice"]]) -> Iterator[tuple[str, Any]]:
    """Give their properties with references in place of secrets; those that do not show all they mean are told of."""
    for pipeline, sink in sinks:
        properties = shown(sink)
        if properties is None:
            typer.echo(f"left out: {pipeline}: secrets decide over more than credentials", err=True)
        yield pipeline, _told_apart(properties, sink.properties)


def _told_apart(properties: Any, given: Any) -> Any:
    """Tell tenants' secrets apart that have the same key: whose access key and external id they are decides over policies."""
    from pydantic import SecretStr

    from auditflow.secrets.references import SCHEME, Sealed
    from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

    if not (isinstance(given, Sealed) and isinstance(properties, CloudWatchProperties)):
        return properties
    key, external_id = properties.access_key_id, properties.external_id
    own = f"{SCHEME}{given.tenant}/"
    update = {
        "access_key_id": key and SecretStr(key.get_secret_value().replace(SCHEME, own)),
        "external_id": external_id and external_id.replace(SCHEME, own),
    }
    return properties.model_copy(update=update)


def shown(sink: "SinkChoice") -> Any:
    """Give a sink's properties with references in place of secrets; None where a reference cannot stand for them."""
    from auditflow.secrets.references import Sealed, references

    ours = sink.properties
    if not isinstance(ours, Sealed):
        return ours
    names = {str(place[0]).replace("-", "_") for place, _ in references(ours.given)}
    return None if any(getattr(ours.shown, name, None) is None for name in names) else ours.shown


def deliveries(sinks: Iterable[tuple[str, Any]]) -> list["Delivery"]:
    """Give the deliveries to CloudWatch Logs among these properties, each with the name of its pipeline."""
    from auditflow.sinks.aws_cloudwatch_sink.policy import Delivery
    from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties

    return [
        Delivery(pipeline, region_of(properties), properties)
        for pipeline, properties in sinks
        if isinstance(properties, CloudWatchProperties)
    ]


def readable(config: "Config") -> list["Delivery"]:
    """Give the deliveries to CloudWatch Logs of the configuration itself, of those whose properties are in it."""
    from auditflow.config import running

    return deliveries((pipeline, sink.properties) for pipeline, sink in sinks(running(config, None)))


def region_of(properties: "AwsProperties") -> str:
    """Give the region that the sink will use, without asking anybody but files and the environment."""
    from auditflow.sinks._aws.session import DEFAULT_REGION

    named = properties.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or _region_of_profile(properties.profile) or DEFAULT_REGION


def _region_of_profile(profile: str | None) -> str | None:
    try:
        import botocore.session

        region: str | None = botocore.session.Session(profile=profile).get_config_variable("region")
    except Exception:  # noqa: BLE001 - no boto3, no such profile, an unreadable file: then the default stands
        return None
    return region
