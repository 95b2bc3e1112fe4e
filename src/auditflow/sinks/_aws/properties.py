"""Where and as whom to talk to AWS: properties that AWS destinations have in common."""
# Tested in tests/sinks/aws_cloudwatch_sink/test_properties.py.

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator

from auditflow.errors import did_you_mean
from auditflow.settings import misfit
from auditflow.sinks._aws.partitions import partition_of
from auditflow.sinks._base import Properties
from auditflow.sinks._http import web_address

REGIONS: Final = (
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "cn-north-1", "cn-northwest-1",
    "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2",
    "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1",
    "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
)  # fmt: skip
"""To suggest from: new ones come, so one that is not here is not refused for that."""
_is_region = re.compile(
    r"([a-z]{2}|eusc)(-[a-z]{2,4})?-(north|south|east|west|central|northeast|northwest|southeast|southwest)-\d{1,2}",
    re.ASCII,
).fullmatch


def _region(name: str) -> str:
    if not _is_region(name):
        hint = did_you_mean(name, REGIONS) or "regions are named like eu-central-1"
        raise misfit("not the name of an AWS region", hint)
    return name


def _proxy(url: SecretStr | None) -> SecretStr | None:
    try:
        return url and SecretStr(web_address(url.get_secret_value()))
    except ValueError:
        raise ValueError("expected a URL such as http://proxy.example.com:3128") from None


def check_arn(arn: str, pattern: str, example: str) -> str:
    """Give the ARN back when it is like the example; PydanticCustomError when it is not."""
    if not re.fullmatch(pattern, arn, re.ASCII):
        raise misfit("not such an ARN", f"it looks like {example}")
    return arn


_ROLE: Final = r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$"


def _role(arn: str) -> str:
    return check_arn(arn, _ROLE, "arn:aws:iam::123456789012:role/AuditFlowCloudWatchRole")


blank_is_absent = BeforeValidator(lambda value: None if value == "" else value)
"""``${NAME:-}`` of an unset variable gives an empty text: the property is not set then."""

OptionalText = Annotated[str | None, blank_is_absent]
OptionalSecret = Annotated[SecretStr | None, blank_is_absent]
OptionalFlag = Annotated[bool | None, blank_is_absent]
OptionalUrl = Annotated[Annotated[str, AfterValidator(web_address)] | None, blank_is_absent]
RoleArn = Annotated[str, AfterValidator(_role), WithJsonSchema({"type": "string", "pattern": _ROLE})]


class AwsProperties(Properties):
    """Where and as whom to talk to AWS."""

    region: Annotated[Annotated[str, AfterValidator(_region)] | None, blank_is_absent] = None
    """AWS region; default: AWS_REGION, AWS_DEFAULT_REGION, the profile's region, else us-east-1."""
    access_key_id: OptionalSecret = None
    """Access key; without one the default chain is used: environment, shared files, IRSA, Pod Identity, ECS, IMDS."""
    secret_access_key: OptionalSecret = None
    """Secret of the access key."""
    session_token: OptionalSecret = None
    """Session token of a temporary access key."""
    profile: OptionalText = None
    """Profile of the shared AWS configuration files."""
    role_arn: Annotated[RoleArn | None, blank_is_absent] = None
    """Role to assume with the credentials above; renewed before it expires."""
    external_id: Annotated[Annotated[str, Field(min_length=2, max_length=1224)] | None, blank_is_absent] = (
        None
    )
    """External id that the role's trust policy asks for."""
    role_session_name: Annotated[str, Field(pattern=r"^[\w+=,.@-]{2,64}$")] = "auditflow"
    """Session name under which CloudTrail shows the role."""
    role_duration_seconds: Annotated[int, Field(ge=900, le=43200)] = 3600
    """Seconds an assumed session lasts; sessions of 900 s are renewed before every request."""
    endpoint_url: OptionalUrl = None
    """Address of the service; default: AWS_ENDPOINT_URL… as botocore reads it, else the region's."""
    sts_endpoint_url: OptionalUrl = None
    """Address of STS, which gives assumed roles; default: AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, else the region's."""
    use_fips_endpoint: OptionalFlag = None
    """Use the region's endpoints validated under FIPS 140; default: AWS_USE_FIPS_ENDPOINT, the profile, else false."""
    ca_bundle: OptionalText = None
    """File of the trusted certificate authorities; default: AWS_CA_BUNDLE, the profile, else those of botocore."""
    proxy_url: Annotated[SecretStr | None, AfterValidator(_proxy), blank_is_absent] = None
    """Proxy for every request to AWS; default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

    @model_validator(mode="after")
    def _one_partition(self) -> Self:
        if self.role_arn and self.region:
            ours, roles = partition_of(self.region), self.role_arn.split(":")[1]
            if ours != roles:
                message = f"region {self.region} is in the partition {ours}, and the role is in {roles}"
                raise misfit(
                    message, "no role works across partitions: name one of the region's, or another region"
                )
        return self

    @model_validator(mode="after")
    def _one_source_of_credentials(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access-key-id" if self.access_key_id is None else "secret-access-key"
            message = f"access-key-id and secret-access-key go together: {missing} is missing"
            raise misfit(
                message, f"give {missing}, or leave both out to use a role or the environment's keys"
            )
        if self.access_key_id and self.profile:
            message = "access-key-id with secret-access-key, or profile: choose one of the two"
            raise misfit(message, "leave out profile, or the two keys")
        if self.session_token and not self.access_key_id:
            message = "session-token needs access-key-id and secret-access-key"
            raise misfit(message, "give the three together, as AWS gave them")
        if self.external_id and not self.role_arn:
            message = "external-id is for assuming a role: role-arn is missing"
            raise misfit(
                message, "give the role-arn whose trust policy asks for it, or leave external-id out"
            )
        if self.use_fips_endpoint and self.endpoint_url:
            message = "endpoint-url names the endpoint, use-fips-endpoint looks for another: choose one"
            raise misfit(message, "leave out endpoint-url, or name the FIPS endpoint in it")
        return self
