"""What commands about the configuration have in common: reading it, and its way to CloudWatch Logs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditflow.config import Config
    from auditflow.plugins import Catalogue
    from auditflow.sinks._aws_properties import AwsProperties
    from auditflow.sinks._cloudwatch_policy import Delivery


def load(file: Path, plugins: Path | None) -> tuple["Config", "Catalogue"]:
    """Read the configuration and its plugins, as `serve` does. Raises ConfigError."""
    from auditflow.apps.in_force import ConfigFile

    return ConfigFile(file, plugins).load(None)


def deliveries(config: "Config") -> list["Delivery"]:
    """Give the deliveries to CloudWatch Logs of the enabled pipelines, those of fallbacks too."""
    from auditflow.sinks._cloudwatch_policy import Delivery
    from auditflow.sinks._cloudwatch_properties import CloudWatchProperties

    return [
        Delivery(pipeline.name, region_of(sink.properties), sink.properties)
        for pipeline in config.pipelines
        for sink in (pipeline.sink, pipeline.sink.fallback)
        if pipeline.enabled and sink and isinstance(sink.properties, CloudWatchProperties)
    ]


def region_of(properties: "AwsProperties") -> str:
    """Give the region that the sink will use, without asking anybody but files and the environment."""
    from auditflow.sinks._aws import DEFAULT_REGION

    named = properties.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return named or _region_of_profile(properties.profile) or DEFAULT_REGION


def _region_of_profile(profile: str | None) -> str | None:
    try:
        import botocore.session

        region: str | None = botocore.session.Session(profile=profile).get_config_variable("region")
    except Exception:  # noqa: BLE001 - no boto3, no such profile, an unreadable file: then the default stands
        return None
    return region
