"""An error says what happened and what fixes it, and survives the way between processes."""

from __future__ import annotations

import pickle

import pytest

from auditflow import errors
from auditflow.errors import (
    AuditFlowError,
    ConfigError,
    InvalidRequest,
    JournalFull,
    MissingExtra,
    Problem,
    SinkBlocked,
    did_you_mean,
)


def test_the_docstring_is_the_message_and_the_hint_is_filled_in_too():
    error = MissingExtra(what="aws_cloudwatch_sink", package="boto3", extra="aws")
    assert str(error) == "aws_cloudwatch_sink needs the Python package boto3, which is not installed."
    assert error.hint == "Install it with: pip install 'auditflow-server[aws]'"
    assert error.explained() == f"{error}\n{error.hint}"


def test_without_a_hint_the_message_stands_alone():
    assert InvalidRequest(reason="no event").explained() == "no event."


def test_a_fact_with_braces_is_text():
    assert str(InvalidRequest(reason="{x} and {0}")) == "{x} and {0}."


def test_facts_are_kept():
    assert JournalFull(size="1GiB", limit="2GiB").facts == {"size": "1GiB", "limit": "2GiB"}


@pytest.mark.parametrize(
    "error",
    [MissingExtra(what="a", package="b", extra="c"), SinkBlocked(destination="d", reason="r", hint="h")],
)
def test_an_error_survives_pickling(error: AuditFlowError):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.hint, again.facts) == (
        type(error),
        str(error),
        error.hint,
        error.facts,
    )


def test_a_request_is_400_unless_said_otherwise():
    assert InvalidRequest(reason="x").status == 400
    assert InvalidRequest(status=413, reason="x").status == 413


def test_every_problem_of_a_configuration_is_a_line_with_its_place_and_hint():
    problems = [
        Problem("a.yaml", 3, 5, "sink.name", "unknown", "did you mean x?"),
        Problem("a.yaml", 1, 1, "", "empty"),
    ]
    error = ConfigError(problems=problems)
    assert error.problems == problems
    assert str(error) == ("a.yaml:3:5: sink.name: unknown\n    hint: did you mean x?\na.yaml:1:1: empty")


def test_the_closest_name_is_suggested_whatever_its_case_and_none_when_none_is_close():
    known = ["log-group", "region", "AWS_REGION"]
    assert did_you_mean("log-grop", known) == "did you mean log-group?"
    assert did_you_mean("aws_regin", known) == "did you mean AWS_REGION?"
    assert did_you_mean("LOG-GROUP", known) == "did you mean log-group?"
    assert did_you_mean("zzz", known) == ""


def test_two_letters_in_the_wrong_order_are_the_likeliest_slip():
    regions = ["us-west-1", "us-east-1", "us-east-2", "eu-west-1"]
    assert did_you_mean("us-esat-1", regions) == "did you mean us-east-1?"


def test_every_error_has_a_code_to_search_for_and_a_message():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AuditFlowError)
    ]
    for kind in kinds:
        assert kind.code == kind.code.upper()
        assert kind.__doc__
    codes = [kind.code for kind in kinds if kind is not AuditFlowError]
    assert len(kinds) > 10
    assert "INTERNAL_ERROR" not in codes
