import json

import pytest

from auditflow.testing.cloudwatch.sts.policy import Decision, decide, load, matches

ARN = "arn:aws:logs:us-east-1:111111111111:log-group:/aws/auditflow/production:log-stream:app"


def _allow(action, resource, **more):
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource} | more],
    }


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("*", True),
        ("arn:aws:logs:*:*:log-group:/aws/auditflow/*:*", True),
        ("arn:aws:logs:us-east-1:111111111111:log-group:/aws/auditflow/*", True),
        ("arn:aws:logs:us-east-1:111111111111:log-group:/aws/auditflow/production:*", True),
        ("arn:aws:logs:us-east-1:111111111111:log-group:/aws/auditflow/production", False),
        ("arn:aws:logs:eu-west-1:111111111111:log-group:/aws/auditflow/*", False),
        ("arn:aws:logs:us-east-?:*", True),
        ("arn:aws:logs:[a-z]*", False),
    ],
)
def test_wildcards_span_colons_and_nothing_else_is_special(pattern, covered):
    assert matches(pattern, ARN) is covered


def test_silence_denies_and_an_explicit_deny_wins():
    allow = _allow("logs:Put*", "*")
    deny = {"Statement": {"Effect": "Deny", "Action": "logs:PutLogEvents", "Resource": ARN}}
    assert decide([], "logs:PutLogEvents", ARN) is Decision.SILENT
    assert decide([allow], "logs:PutLogEvents", ARN) is Decision.ALLOWED
    assert decide([allow, deny], "logs:PutLogEvents", ARN) is Decision.DENIED
    assert decide([allow], "logs:CreateLogGroup", ARN) is Decision.SILENT


def test_actions_ignore_case_and_resources_do_not():
    assert decide([_allow("LOGS:putlogevents", ARN)], "logs:PutLogEvents", ARN) is Decision.ALLOWED
    assert decide([_allow("logs:PutLogEvents", ARN.upper())], "logs:PutLogEvents", ARN) is Decision.SILENT


def test_not_action_and_not_resource_exclude():
    policy = {
        "Statement": [{"Effect": "Allow", "NotAction": "logs:Delete*", "NotResource": "*:log-stream:secret"}]
    }
    assert decide([policy], "logs:PutLogEvents", ARN) is Decision.ALLOWED
    assert decide([policy], "logs:DeleteLogGroup", ARN) is Decision.SILENT
    assert decide([policy], "logs:PutLogEvents", "x:log-stream:secret") is Decision.SILENT


def test_a_policy_may_be_json_text():
    assert decide([load(json.dumps(_allow("logs:*", "*")))], "logs:PutLogEvents", ARN) is Decision.ALLOWED


@pytest.mark.parametrize(
    "policy",
    [
        {"Statement": [{"Effect": "Perhaps"}]},
        _allow("*", "*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        _allow("*", "*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
    ],
)
def test_what_cannot_be_evaluated_is_refused_when_registered(policy):
    with pytest.raises(ValueError, match=r"Effect|condition"):
        load(policy)
