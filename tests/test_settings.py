from typing import Literal

import pytest
from pydantic import SecretStr, ValidationError, field_validator, model_validator

from auditflow.settings import Fault, Settings, describe, faults, misfit
from auditflow.units import ByteSize, Duration


class Inner(Settings):
    max_items: int = 3
    """Most items."""


class Outer(Settings):
    log_group: str
    """Where to.

    Kept for years.
    """
    api_key: SecretStr | None = None
    """Key."""
    verify_ssl: bool = True
    """Check."""
    wait: Duration | None = None
    """Pause."""
    flush: Duration = 1.5
    """Flush."""
    room: ByteSize = 2**20
    """Room."""
    mode: Literal["a", "b"] = "a"
    """Mode."""
    either: int | str = 1
    """Either."""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Headers."""
    inner: Inner = Inner()
    """Inner."""


def refused(given: object, model: type[Settings] = Outer) -> list[Fault]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(given)
    return faults(raised.value)


def test_names_are_kebab_case_and_numbers_and_booleans_may_be_text() -> None:
    outer = Outer.model_validate({"log-group": 12, "verify-ssl": "false", "inner": {"max-items": "7"}})
    assert (outer.log_group, outer.verify_ssl, outer.inner.max_items) == ("12", False, 7)


def test_null_says_the_same_as_leaving_the_name_out() -> None:
    assert Outer.model_validate({"log-group": "g", "verify-ssl": None, "inner": None}).verify_ssl is True
    assert [fault.where for fault in refused({"log-group": None, "unknown": None})] == [
        ("log-group",),
        ("unknown",),
    ]


def test_an_unknown_name_gets_the_one_that_was_meant_at_every_depth() -> None:
    found = refused({"log-gruop": "x", "log-group": "g", "inner": {"max_items": 1, "zzz": 1}})
    assert [(fault.where, fault.hint, fault.unknown) for fault in found] == [
        (("inner", "max_items"), "did you mean max-items?", True),
        (("inner", "zzz"), "known here: max-items", True),
        (("log-gruop",), "did you mean log-group?", True),
    ]


def test_faults_are_told_in_words_for_people() -> None:
    found = refused({"verify-ssl": "perhaps", "inner": [], "wait": "soon", "mode": "c"})
    assert {fault.where[0]: fault.message for fault in found} == {
        "log-group": "required, but missing",
        "verify-ssl": "expected true or false",
        "inner": "expected a mapping",
        "wait": "expected a duration such as 250ms, 30s, 5m, 24h or 7d",
        "mode": "must be 'a' or 'b'",
    }


class Careless(Settings):
    token: SecretStr
    """Token."""
    name: str = ""
    """Name."""

    @field_validator("token")
    @classmethod
    def _echo(cls, token: SecretStr) -> SecretStr:
        if token.get_secret_value() == "hunter2":
            raise ValueError(f"bad token {token.get_secret_value()}")
        return token

    @model_validator(mode="after")
    def _echo_all(self) -> "Careless":
        raise misfit(f"bad {self.token.get_secret_value()}", "try again")


@pytest.mark.parametrize("token", ["hunter2", "hunter3"])
def test_no_message_repeats_a_secret_whatever_a_validator_says(token: str) -> None:
    found = refused({"token": token, "name": "n"}, Careless)
    assert len(found) == 1
    assert "hunter" not in str(found)
    assert "***" in found[0].message


def test_every_property_is_described_from_the_model() -> None:
    told = {info.name: info for info in describe(Outer)}
    assert {name: (info.type, info.default) for name, info in told.items()} == {
        "log-group": ("text", ""),
        "api-key": ("text", ""),
        "verify-ssl": ("boolean", "true"),
        "wait": ("duration", ""),
        "flush": ("duration", "1500ms"),
        "room": ("size", "1MiB"),
        "mode": ("a | b", "a"),
        "either": ("integer | text", "1"),
        "headers": ("mapping", "{}"),
        "inner": ("text", "max_items=3"),
    } | {"inner": (told["inner"].type, told["inner"].default)}
    assert [name for name, info in told.items() if info.required] == ["log-group"]
    assert [name for name, info in told.items() if info.secret] == ["api-key"]
    assert told["log-group"].description == "Where to. Kept for years."
