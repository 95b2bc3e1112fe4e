import pytest
from pydantic import ValidationError

from auditflow.settings import describe, faults
from auditflow.sinks.aws_cloudwatch_sink.properties import RETENTION_DAYS, CloudWatchProperties

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def parse(**given):
    return CloudWatchProperties.model_validate(
        {"log-group": "/x", **{name.replace("_", "-"): value for name, value in given.items()}}
    )


def refused(**given):
    with pytest.raises(ValidationError) as caught:
        parse(**given)
    return " ".join(f"{'.'.join(map(str, f.where))}: {f.message} {f.hint}" for f in faults(caught.value))


@pytest.mark.parametrize("days", RETENTION_DAYS)
def test_every_retention_of_the_service_is_taken_also_as_text(days):
    assert parse(retention_in_days=str(days)).retention_in_days == days


@pytest.mark.parametrize(
    ("days", "hint"),
    [(10, "did you mean 7 or 14?"), (366, "did you mean 365 or 400?"), (9999, "did you mean 3653?"), (0, "forever"),
     (-1, "forever")],
)  # fmt: skip
def test_an_impossible_retention_is_refused_with_its_neighbours(days, hint):
    assert hint in refused(retention_in_days=days)


@pytest.mark.parametrize("name", ["retention_in_days", "kms_key_id", "log_group_class", "region", "ca_bundle", "proxy_url",
                                  "use_fips_endpoint"])  # fmt: skip
def test_a_blank_property_is_absent(name):
    assert getattr(parse(**{name: ""}), name) is None


@pytest.mark.parametrize(
    "key",
    ["1234abcd-12ab-34cd-56ef-1234567890ab", "alias/audit", "arn:aws:kms:eu-west-1:123456789012:alias/audit",
     "arn:aws:kms:eu-west-1:12345:key/x", "arn:aws:iam::123456789012:role/x"],
)  # fmt: skip
def test_what_is_no_key_arn_is_refused(key):
    words = refused(kms_key_id=key)
    assert "kms-key-id: not such an ARN" in words
    assert ":key/" in words


def test_a_key_of_another_region_is_refused():
    assert parse(kms_key_id=KEY, region="eu-west-1").kms_key_id == KEY
    assert "the key is in eu-west-1, the log group in us-east-1" in refused(
        kms_key_id=KEY, region="us-east-1"
    )


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({f"k{n}": "v" for n in range(51)}, "at most 50"),
        ({"": "v"}, "1 to 128"),
        ({"k" * 129: "v"}, "1 to 128"),
        ({"k": "v" * 257}, "at most 256"),
        ({"aws:x": "v"}, "reserved"),
        ({"k": "a;b"}, "made of"),
        ("team=a", "mapping"),
        ({"k": ["v"]}, "tags"),
    ],
)
def test_tags_the_service_refuses_are_refused(tags, words):
    assert words in refused(tags=tags)


def test_tags_within_the_limits_are_taken():
    tags = {f"k{n}": "v" * 256 for n in range(49)} | {"k" * 128: 7}
    assert parse(tags=tags).tags["k" * 128] == "7"


@pytest.mark.parametrize(
    "given",
    [{"retention_in_days": 30}, {"kms_key_id": KEY}, {"tags": {"a": "b"}}, {"log_group_class": "STANDARD"}],
)
def test_settings_of_a_group_that_is_not_created_are_a_contradiction(given):
    (name,) = given
    words = refused(create_log_group="false", **given)
    assert name.replace("_", "-") in words
    assert "create-log-group is false" in words


def test_a_group_of_the_class_delivery_has_no_retention():
    assert "one day" in refused(log_group_class="DELIVERY", retention_in_days=30)


@pytest.mark.parametrize(
    ("region", "hint"),
    [("us-east1", "us-east-1"), ("us-eats-1", "us-east-1"), ("EU-WEST-1", "eu-west-1"), ("europe", "eu-central-1"),
     ("eu-west-1a", "eu-west-1"), ("us-east-1\n", "us-east-1")],
)  # fmt: skip
def test_what_cannot_be_a_region_is_refused_with_what_was_probably_meant(region, hint):
    assert hint in refused(region=region)


@pytest.mark.parametrize(
    "region", ["us-east-1", "ap-southeast-7", "cn-northwest-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1", "xx-central-9"]
)  # fmt: skip
def test_what_can_be_a_region_is_taken(region):
    assert parse(region=region).region == region


def test_an_endpoint_and_the_fips_endpoint_are_a_contradiction():
    assert "choose one" in refused(endpoint_url="https://logs.example.com", use_fips_endpoint="true")


@pytest.mark.parametrize("role", ["Writer", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x",
                                  "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:role/a b"])  # fmt: skip
def test_what_is_no_role_arn_is_refused(role):
    assert "role-arn: not such an ARN" in refused(role_arn=role)


def test_a_proxy_is_an_address_and_a_secret():
    assert "hunter2" not in refused(proxy_url="http://user:hunter2/x@proxy:8080")
    assert "proxy-url" in refused(proxy_url="proxy:8080")
    assert [each.name for each in describe(CloudWatchProperties) if each.secret][-1] == "proxy-url"
    assert "hunter2" not in repr(parse(proxy_url="http://user:hunter2@proxy:8080"))


@pytest.mark.parametrize(
    "name", ["timestamp", "out_of_window", "oversize", "compression", "ordering", "log_group_class"]
)
def test_a_choice_names_what_can_be_chosen(name):
    assert " or " in refused(**{name: "whatever"})
