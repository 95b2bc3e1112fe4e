import pytest

from auditflow.config.interpolation import expand

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


def test_every_problem_of_a_text_is_found() -> None:
    assert len(expand("${A} ${B} ${", {}).problems) == 3
