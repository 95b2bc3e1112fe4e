import pytest
from pydantic import ValidationError

from auditflow.plugins import discover
from auditflow.secrets.references import Sealed, SecretText, references, seal, without
from auditflow.settings import faults

CATALOGUE = discover()


def secret(key, before="", after=""):
    return SecretText.of([before, key, after])


def sealed(given, sink="webhook_sink", tenant="acme"):
    return seal(given, tenant, CATALOGUE.get_sink(sink).parse)


def problems(given, sink="webhook_sink"):
    with pytest.raises(ValidationError) as raised:
        sealed(given, sink)
    return [fault.where for fault in faults(raised.value)]


def test_a_text_shows_its_references_and_can_be_filled():
    text = SecretText.of(["https://", "host", "/", "token", "?x"])
    assert text == "https://${secretRef:host}/${secretRef:token}?x"
    assert text.keys == ("host", "token")
    assert text.filled({"host": "example.com", "token": "${secretRef:host}"}) == (
        "https://example.com/${secretRef:host}?x"
    )


def test_properties_without_references_are_checked_as_ever():
    assert not isinstance(sealed({"webhook-url": "https://example.com", "secret": "plain"}), Sealed)
    assert problems({"webhook-url": "example", "secret": "plain"}) == [("webhook-url",)]


def test_references_are_found_wherever_they_stand_and_filled_there():
    given = {
        "webhook-url": secret("url"),
        "secret": secret("hmac"),
        "headers": {"Authorization": secret("token", "Bearer "), "X-Plain": "as it is"},
    }
    properties = sealed(given)
    assert properties.keys == ("url", "hmac", "token")
    assert [place for place, _ in references(given)] == [
        ("webhook-url",),
        ("secret",),
        ("headers", "Authorization"),
    ]
    assert properties.filled({"url": "https://a", "hmac": "b", "token": "c"}) == {
        "webhook-url": "https://a",
        "secret": "b",
        "headers": {"Authorization": "Bearer c", "X-Plain": "as it is"},
    }
    assert given["secret"] == "${secretRef:hmac}"


def test_what_no_secret_can_fix_is_found_when_the_file_is_loaded():
    given = {"webhook-url": secret("url"), "tmeout": 5, "headers": {"a b": "x", "Authorization": secret("t")}}
    assert problems(given) == [("headers", "a b", "[key]"), ("tmeout",)]
    assert problems({"secret": secret("hmac")}) == [("webhook-url",)]
    assert problems({"log-group": "/g", "access-key-id": secret("id")}, "aws_cloudwatch_sink") == [()]


def test_a_problem_keeps_its_hint():
    with pytest.raises(ValidationError) as raised:
        sealed({"webhook-url": secret("url"), "secrt": "x"})
    assert faults(raised.value)[0].hint == "did you mean secret?"


@pytest.mark.parametrize(
    ("given", "sink"),
    [
        ({"webhook-url": secret("url"), "timeout": secret("t"), "verify-ssl": secret("v")}, "webhook_sink"),
        (
            {"log-group": "/g", "region": secret("r"), "role-arn": secret("a"), "ordering": "ordered"},
            "aws_cloudwatch_sink",
        ),
    ],
)
def test_a_secret_may_be_anything_a_property_takes(given, sink):
    assert sealed(given, sink).shown is not None


def test_what_is_known_of_the_properties_is_shown_without_the_secrets():
    shown = sealed(
        {"log-group": "/g", "region": secret("r"), "ordering": "ordered"}, "aws_cloudwatch_sink"
    ).shown
    assert (shown.log_group, shown.region, shown.ordering) == ("/g", None, "ordered")


def test_properties_of_two_tenants_are_never_the_same():
    given = {"webhook-url": "https://a", "secret": secret("hmac")}
    assert sealed(given) == sealed(dict(given))
    assert sealed(given) != sealed(given, tenant="other")
    assert sealed(given) != sealed(given | {"secret": secret("other")})


def test_nothing_is_told_of_values_beside_a_secret():
    assert "plain" not in repr(sealed({"webhook-url": "https://a/plain", "secret": secret("hmac")}))


def test_secrets_are_replaced_in_texts_the_longest_first():
    assert without("abcdef abcd abc", ["abcd", "abcdef", "abc"]) == "*** *** abc"
