import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("no_aws_configuration")

Run = Callable[..., Any]
CONFIGURATION = """
pipelines:
  - name: here
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /acme/here, create-log-group: "false", create-log-stream: "false"}
  - name: there
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: /acme/there
        role-arn: arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole
        external-id: auditflow-unique-id
        access-key-id: AKIAEXAMPLE
        secret-access-key: very-secret
  - {name: off, enabled: false, sink: {name: aws_cloudwatch_sink, properties: {log-group: /off}}}
  - {name: log, sink: {name: logging_sink}}
"""


@pytest.fixture(autouse=True)
def _configured(no_aws_configuration: None) -> None:
    Path("auditflow.yaml").write_text(CONFIGURATION)


def test_policies_come_as_json_per_account(auditflow: Run) -> None:
    answer = auditflow("aws", "policy", "--account", "111111111111", "--format", "json")
    documents = json.loads(answer.out)["documents"]
    assert [(d["account"], d["kind"], d["pipelines"]) for d in documents] == [
        ("111111111111", "permissions", ["here"]),
        ("111111111111", "service-account", ["here"]),
        ("*", "permissions", ["there"]),
        ("222222222222", "trust", ["there"]),
        ("222222222222", "permissions", ["there"]),
    ]
    assert documents[0]["content"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "logs:PutLogEvents",
            "Resource": "arn:aws:logs:us-east-1:111111111111:log-group:/acme/here:*",
        }
    ]


def test_policies_are_printed_ready_to_be_used(auditflow: Run) -> None:
    out = auditflow("aws", "policy", "--account", "111111111111").out
    assert "# account 222222222222" in out
    block = out.split("trust policy of role AuditFlowCloudWatchRole (pipelines: there)\n")[1].split("\n#")[0]
    assert json.loads(block)["Statement"][0]["Condition"] == {
        "StringEquals": {"sts:ExternalId": "auditflow-unique-id"}
    }
    manifest = out.split("service account for the delivery role on EKS (pipelines: here)\n")[1]
    assert yaml.safe_load(manifest.split("\n#")[0])["metadata"]["name"] == "auditflow-sink"
    assert "AKIAEXAMPLE" not in out
    assert "very-secret" not in out


def test_an_unknown_account_is_said_to_be_missing(auditflow: Run) -> None:
    assert auditflow("aws", "policy").out.endswith("name it with --account.\n")
    assert auditflow("aws", "policy", "--account", "12").code == 2


def test_the_region_is_the_one_that_the_sink_finds(auditflow: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("config").write_text("[default]\nregion = eu-west-3\n")
    assert "arn:aws:logs:eu-west-3:*:log-group:/acme/here:*" in auditflow("aws", "policy").out
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert "arn:aws:logs:ap-south-1:*:log-group:/acme/here:*" in auditflow("aws", "policy").out


def test_without_a_pipeline_to_cloudwatch_nothing_is_needed(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text("pipelines:\n- {name: log, sink: {name: logging_sink}}\n")
    answer = auditflow("aws", "policy")
    assert (answer.code, "no enabled pipeline" in answer.out) == (0, True)
    assert json.loads(auditflow("aws", "policy", "--format", "json").out) == {"documents": []}


def test_the_group_lists_its_commands(auditflow: Run) -> None:
    answer = auditflow("aws", "--help")
    assert "\n  policy " in answer.out


def test_pipelines_of_tenants_need_policies_too(auditflow: Run) -> None:
    Path("tenants").mkdir()
    for tenant in ("acme", "globex"):
        Path("tenants", f"{tenant}.yaml").write_text(f"""
tenantId: {tenant}
pipelines:
  - name: own
    sink:
      name: aws_cloudwatch_sink
      properties:
        log-group: /{tenant}
        role-arn: arn:aws:iam::222222222222:role/Theirs
        external-id: ${{secretRef:external_id}}
        access-key-id: ${{secretRef:key_id}}
        secret-access-key: ${{secretRef:key}}
""")
    Path("auditflow.yaml").write_text(f"tenants: {{directory: tenants}}\n{CONFIGURATION}")
    documents = json.loads(auditflow("aws", "policy", "--format", "json").out)["documents"]
    theirs = [d for d in documents if d["pipelines"][0].startswith(("acme/", "globex/"))]
    assert [(d["account"], d["kind"], d["pipelines"]) for d in theirs] == [
        ("*", "permissions", ["acme/own"]),
        ("*", "permissions", ["globex/own"]),
        ("222222222222", "trust", ["acme/own", "globex/own"]),
        ("222222222222", "permissions", ["acme/own", "globex/own"]),
    ]
    assert theirs[2]["content"]["Statement"][0]["Condition"] == {
        "StringEquals": {
            "sts:ExternalId": ["${secretRef:acme/external_id}", "${secretRef:globex/external_id}"]
        }
    }


def test_what_only_secrets_tell_is_left_out_and_said(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text(
        "pipelines:\n- {name: a, sink: {name: aws_cloudwatch_sink, properties: {log-group: /a, role-arn: '${secretRef:role}'}}}\n"
    )
    answer = auditflow("aws", "policy")
    assert "no enabled pipeline" in answer.out
    assert answer.err == "left out: a: secrets decide over more than credentials\n"


def test_many_pipelines_are_not_all_named_in_a_title(auditflow: Run) -> None:
    sink = {"name": "aws_cloudwatch_sink", "properties": {"log-group": "/a"}}
    pipelines = [{"name": f"p{n}", "sink": sink} for n in range(40)]
    Path("auditflow.yaml").write_text(json.dumps({"pipelines": pipelines}))
    assert "(pipelines: p0, p1, p2, p3, p4 and 35 more)\n" in auditflow("aws", "policy").out
