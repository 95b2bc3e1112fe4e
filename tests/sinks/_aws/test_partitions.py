import pytest
from botocore.loaders import Loader
from pydantic import ValidationError

from auditflow.sinks._aws.partitions import COMMERCIAL, partition_of
from auditflow.sinks._aws.properties import AwsProperties

KNOWN = [
    (region, data["id"])
    for data in Loader().load_data("partitions")["partitions"]
    for region in data["regions"]
    if "global" not in region
]
FUTURE = [
    ("eu-south-7", "aws"),
    ("cn-south-9", "aws-cn"),
    ("us-gov-central-1", "aws-us-gov"),
    ("eusc-de-west-9", "aws-eusc"),
]


@pytest.mark.parametrize(("region", "name"), KNOWN)
def test_every_region_of_botocore_has_its_partition(region, name):
    assert partition_of(region) == name
    properties = {"region": region, "role-arn": f"arn:{name}:iam::123456789012:role/r"}
    assert AwsProperties.model_validate(properties).region == region


@pytest.mark.parametrize(("region", "name"), FUTURE)
def test_a_region_that_is_new_has_the_partition_of_its_like(region, name):
    assert partition_of(region) == name


def test_without_botocore_all_is_commercial(monkeypatch):
    monkeypatch.setattr("auditflow.sinks._aws.partitions._known", list)
    partition_of.cache_clear()
    assert partition_of("cn-north-1") == COMMERCIAL
    partition_of.cache_clear()


def test_a_role_of_another_partition_is_refused():
    with pytest.raises(ValidationError, match="is in the partition aws-cn"):
        AwsProperties.model_validate({"region": "cn-north-1", "role-arn": "arn:aws:iam::123456789012:role/r"})
