import pytest

from auditflow.config.interpolation import expand
from auditflow.secrets.references import SecretText

ENVIRON = {"NAME": "value", "EMPTY": "", "LOOKS": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("a-${NAME}-b-${NAME}", "a-value-b-value"),
        ("${ABSENT:-fallback}", "fallback"),
        ("${ABSENT:-}", ""),
        ("${EMPTY:-fallback}", "fallback"),
        ("${EMPTY}", ""),
        ("${NAME:-fallback}", "value"),
        ("${ABSENT:-a:-b c/d}", "a:-b c/d"),
        ("${ABSENT:-^a{2}$}", "^a{2}$"),
        ("${NAME:-^a{2}$}!", "value!"),
        ("${ABSENT:-{{ eventType }}}-${NAME}", "{{ eventType }}-value"),
        ('${ABSENT:-{"a": {}}}', '{"a": {}}'),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("$${A} ${NAME}", "${A} value"),
        ("${LOOKS}", "${NAME}"),
        ("$NAME $ {NAME} {{ NAME }} 5$", "$NAME $ {NAME} {{ NAME }} 5$"),
    ],
)
def test_variables_are_filled_in(text: str, expected: str) -> None:
    expansion = expand(text, ENVIRON)
    assert (expansion.text, expansion.problems) == (expected, [])


def test_an_unset_variable_is_named_with_how_to_set_it() -> None:
    [(message, hint)] = expand("x-${ACCOUNT_ID}", {"ACCOUNTID": "1"}).problems
    assert "ACCOUNT_ID" in message
    assert hint.startswith("did you mean ACCOUNTID?")
    assert "export ACCOUNT_ID=" in hint
    assert "${ACCOUNT_ID:-" in hint


@pytest.mark.parametrize(
    "text", ["${", "${}", "${NAME", "${1A}", "${NAME:default}", "${a-b}", "${ NAME }", "${A:-${NAME}}"]
)
def test_a_malformed_variable_is_a_problem_that_shows_the_syntax(text: str) -> None:
    [(message, hint), *_] = expand(text, ENVIRON).problems
    assert "${" in message
    assert "${NAME:-default}" in hint


def test_a_default_whose_braces_do_not_match_is_refused() -> None:
    [(_, hint)] = expand(r"${ABSENT:-^\{$}", ENVIRON).problems
    assert "each { has its }" in hint


def test_every_problem_of_a_text_is_found() -> None:
    assert len(expand("${A} ${B} ${", {}).problems) == 3


def test_a_secret_stays_a_reference_beside_what_is_filled_in() -> None:
    expansion = expand("$${x} ${NAME}/${secretRef:api_key}?${secretRef:B2}", ENVIRON)
    assert isinstance(expansion.text, SecretText)
    assert expansion.text.pieces == ("${x} value/", "api_key", "?", "B2", "")
    assert expansion.problems == []


@pytest.mark.parametrize("text", ["$${secretRef:key}", "${SAYS}", "$NAME", "secretRef:key"])
def test_what_only_looks_like_a_secret_is_text(text: str) -> None:
    expansion = expand(text, {"SAYS": "${secretRef:key}"})
    assert not isinstance(expansion.text, SecretText)
    assert expansion.problems == []


@pytest.mark.parametrize("key", ["", "my-key", "../other/key", "a b", "é", "a" * 200, "a:-b", "-a"])
def test_the_key_of_a_secret_has_to_be_a_plain_name(key: str) -> None:
    [(message, hint)] = expand(f"${{secretRef:{key}}}", ENVIRON).problems
    assert "letters, digits and underscores" in message
    assert hint == "write ${secretRef:api_key}, say"


@pytest.mark.parametrize("default", ["", ":-x"])
def test_a_variable_that_may_hold_a_tenants_secret_is_never_filled_in(default: str) -> None:
    expansion = expand(f"${{AUDITFLOW_TENANT_ACME_KEY{default}}}", {"AUDITFLOW_TENANT_ACME_KEY": "s3cr3t"})
    [(message, hint)] = expansion.problems
    assert "secret of a tenant" in message
    assert "${secretRef:key}" in hint
    assert "s3cr3t" not in f"{expansion}"
