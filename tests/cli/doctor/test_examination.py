import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from auditflow.cli.doctor import cloudwatch as _doctor_cloudwatch
from auditflow.testing.cloudwatch import StrictCloudWatch

pytestmark = pytest.mark.usefixtures("no_aws_configuration")

Run = Callable[..., Any]
GROUP = "/aws/auditflow/production"
ROLE = "arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole"
RESOURCE = f"arn:aws:logs:us-east-1:*:log-group:{GROUP}:*"


@pytest.fixture
def doctor(auditflow: Run, cloud: StrictCloudWatch) -> Callable[..., Any]:
    """Run the doctor over one pipeline; gives exit status and step → (status, what was said and the hint)."""

    def doctor(*flags: str, **properties: Any) -> tuple[int, dict[str, tuple[str, str]]]:
        given = {
            "log-group": GROUP, "endpoint-url": cloud.url, "sts-endpoint-url": cloud.url,
            "access-key-id": "AKIASOURCE", "secret-access-key": "very-secret",
        } | {name.replace("_", "-"): value for name, value in properties.items()}  # fmt: skip
        pipeline = {"name": "a", "sink": {"name": "aws_cloudwatch_sink", "properties": given}}
        Path("auditflow.yaml").write_text(json.dumps({"pipelines": [pipeline]}))
        answer = auditflow("doctor", "--format", "json", *flags)
        assert "very-secret" not in answer.out + answer.err
        found = json.loads(answer.out)
        assert found["ok"] == (answer.code == 0)
        steps = found["pipelines"][0]["steps"]
        return answer.code, {s["name"]: (s["status"], f"{s['said']} {s['hint']}") for s in steps}

    return doctor


def allow(*actions: str, resource: str = RESOURCE) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]}


def known(cloud: StrictCloudWatch, *policies: dict[str, Any], secret: str = "very-secret") -> None:
    cloud.add_identity("AKIASOURCE", secret, account="111111111111", policies=policies)


def make_group(cloud: StrictCloudWatch) -> None:
    cloud.add_identity("AKIAADMIN", "s", account="111111111111")
    client = boto3.client(
        "logs", endpoint_url=cloud.url, region_name="us-east-1",
        aws_access_key_id="AKIAADMIN", aws_secret_access_key="s",
    )  # fmt: skip
    client.create_log_group(logGroupName=GROUP)
    client.create_log_stream(logGroupName=GROUP, logStreamName="auditflow")
    client.close()


def test_all_is_well_with_the_test_event_put_and_read_back(doctor: Run, cloud: StrictCloudWatch) -> None:
    code, steps = doctor("--write")
    assert code == 0
    assert {name: status for name, (status, _) in steps.items()} == dict.fromkeys(
        ("credentials", "log group", "put", "read back"), "ok"
    )
    assert "user/AKIASOURCE" in steps["credentials"][1]
    (record,) = cloud.events(GROUP)
    event = json.loads(record.message)
    assert (event["eventType"], event["extra"]["pipeline"]) == ("auditflow.doctor", "a")


def test_without_write_nothing_is_changed(doctor: Run, cloud: StrictCloudWatch) -> None:
    code, steps = doctor()
    assert (code, steps["put"][0]) == (0, "skipped")
    assert "the first event creates it" in steps["log group"][1]
    assert {r.operation for r in cloud.requests} == {"GetCallerIdentity", "DescribeLogGroups"}


def test_not_being_allowed_to_look_is_no_failure(doctor: Run, cloud: StrictCloudWatch) -> None:
    make_group(cloud)
    known(cloud, allow("logs:PutLogEvents"))
    code, steps = doctor("--write", create_log_group="false", create_log_stream="false")
    assert code == 0
    assert {name: status for name, (status, _) in steps.items()} == {
        "credentials": "ok", "log group": "unknown", "log stream": "unknown", "put": "ok", "read back": "unknown",
    }  # fmt: skip


def test_not_being_allowed_to_put_fails_with_the_statement_to_add(
    doctor: Run, cloud: StrictCloudWatch
) -> None:
    known(cloud, allow("logs:DescribeLogGroups", resource="*"))
    code, steps = doctor("--write")
    assert (code, steps["put"][0]) == (1, "failed")
    assert '"Action": "logs:PutLogEvents"' in steps["put"][1]
    assert "read back" not in steps


def test_a_wrong_secret_fails_at_the_credentials_and_ends_there(doctor: Run, cloud: StrictCloudWatch) -> None:
    known(cloud, secret="another")
    code, steps = doctor("--write")
    assert (code, list(steps), steps["credentials"][0]) == (1, ["credentials"], "failed")
    assert "fix secret-access-key" in steps["credentials"][1]


def test_no_credentials_are_said_to_be_missing(doctor: Run) -> None:
    code, steps = doctor(access_key_id=None, secret_access_key=None)
    assert (code, list(steps)) == (1, ["credentials"])
    assert "AWS_ACCESS_KEY_ID" in steps["credentials"][1]


def test_a_role_that_cannot_be_assumed_fails_with_both_fixes(doctor: Run, cloud: StrictCloudWatch) -> None:
    known(cloud, allow("sts:AssumeRole", resource=ROLE))
    cloud.add_role(ROLE, trust=["arn:aws:iam::111111111111:root"], external_id="right")
    code, steps = doctor(role_arn=ROLE, external_id="wrong")
    assert (code, steps["credentials"][0], steps["role"][0]) == (1, "ok", "failed")
    assert "trust policy" in steps["role"][1]
    code, steps = doctor("--write", role_arn=ROLE, external_id="right")
    assert code == 0
    assert "222222222222:assumed-role/AuditFlowCloudWatchRole" in steps["role"][1]
    assert len(cloud.events(GROUP, account="222222222222")) == 1


def test_a_missing_group_that_nobody_creates_fails_with_the_command_that_makes_it(doctor: Run) -> None:
    code, steps = doctor(create_log_group="false")
    assert (code, steps["log group"][0]) == (1, "failed")
    assert f"aws logs create-log-group --log-group-name {GROUP}" in steps["log group"][1]


def test_a_missing_stream_that_nobody_creates_fails(doctor: Run, cloud: StrictCloudWatch) -> None:
    make_group(cloud)
    code, steps = doctor(access_key_id="AKIAADMIN", secret_access_key="s", create_log_stream="false")
    assert (code, steps["log stream"][0]) == (0, "ok")
    code, steps = doctor(
        access_key_id="AKIAADMIN", secret_access_key="s", create_log_stream="false", log_stream="other"
    )
    assert (code, steps["log stream"][0]) == (1, "failed")
    assert "create-log-stream" in steps["log stream"][1]


def test_an_sts_that_cannot_be_reached_matters_only_for_a_role(doctor: Run) -> None:
    nowhere = "http://127.0.0.1:9"
    code, steps = doctor("--write", sts_endpoint_url=nowhere)
    assert (code, steps["credentials"][0], steps["put"][0]) == (0, "unknown", "ok")
    code, steps = doctor(sts_endpoint_url=nowhere, role_arn=ROLE)
    assert (code, steps["role"][0]) == (1, "failed")


def test_what_an_address_of_cloudwatch_logs_alone_says_of_sts_means_nothing(
    doctor: Run, cloud: StrictCloudWatch
) -> None:
    cloud.fault("unrecognized-client", operation="GetCallerIdentity")
    assert doctor()[1]["credentials"][0] == "failed"
    code, steps = doctor("--write", sts_endpoint_url=None)
    assert (code, steps["credentials"][0], steps["put"][0]) == (0, "unknown", "ok")


def test_a_service_that_cannot_be_reached_fails(doctor: Run) -> None:
    code, steps = doctor(endpoint_url="http://127.0.0.1:9")
    assert (code, steps["log group"][0]) == (1, "failed")
    assert "let this machine reach the service" in steps["log group"][1]


def test_a_name_made_of_event_fields_is_not_looked_for(doctor: Run, cloud: StrictCloudWatch) -> None:
    code, steps = doctor("--write", log_group="/acme/{{ tenantId:-none }}")
    assert (code, steps["log group"][0], steps["put"][0]) == (0, "unknown", "ok")
    assert len(cloud.events("/acme/none")) == 1


def test_an_event_that_is_not_found_yet_is_no_failure(
    doctor: Run, cloud: StrictCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_doctor_cloudwatch, "PATIENCE", 0.1)
    monkeypatch.setattr(_doctor_cloudwatch, "_search", lambda *_: False)
    code, steps = doctor("--write")
    assert (code, steps["read back"][0]) == (0, "unknown")


def test_a_throttled_put_is_tried_again(doctor: Run, cloud: StrictCloudWatch) -> None:
    cloud.fault("throttle", operation="PutLogEvents", times=1)
    code, steps = doctor("--write")
    assert (code, steps["put"][0]) == (0, "ok")


@pytest.mark.parametrize(
    ("fault", "hint"), [("throttle", "raise the quota"), ("invalid-sequence-token", "sequence tokens")]
)
def test_what_passes_by_itself_fails_with_the_hint_that_status_shows(
    doctor: Run, cloud: StrictCloudWatch, monkeypatch: pytest.MonkeyPatch, fault: str, hint: str
) -> None:
    monkeypatch.setattr(_doctor_cloudwatch, "ATTEMPTS", 1)
    cloud.fault(fault, operation="PutLogEvents")
    code, steps = doctor("--write")
    assert (code, steps["put"][0]) == (1, "failed")
    assert hint in steps["put"][1]


def test_the_findings_read_as_text_too(doctor: Run, auditflow: Run) -> None:
    doctor(create_log_group="false")
    answer = auditflow("doctor")
    assert answer.code == 1
    assert f"a, cloudwatch:us-east-1:{GROUP}:auditflow\n  ok       credentials" in answer.out
    assert "  failed   log group" in answer.out
    assert "hint: Set create-log-group" in answer.out


def test_without_a_pipeline_to_cloudwatch_there_is_nothing_to_examine(auditflow: Run) -> None:
    Path("auditflow.yaml").write_text("pipelines:\n- {name: log, sink: {name: logging_sink}}\n")
    answer = auditflow("doctor")
    assert (answer.code, "no enabled pipeline" in answer.out) == (0, True)


def of_tenant(tenant: str, *sinks: dict[str, Any]) -> None:
    Path("tenants").mkdir(exist_ok=True)
    pipelines = [{"name": f"p{n}", "sink": sink} for n, sink in enumerate(sinks)]
    Path("tenants", f"{tenant}.yaml").write_text(json.dumps({"tenantId": tenant, "pipelines": pipelines}))
    Path("auditflow.yaml").write_text(
        json.dumps({"tenants": {"directory": "tenants"}, "secrets": {"directory": "secrets"}})
    )


def hold(tenant: str, **secrets: str) -> None:
    folder = Path("secrets", tenant)
    folder.mkdir(parents=True, exist_ok=True)
    for key, secret in secrets.items():
        folder.joinpath(key).write_text(secret)


def to_cloudwatch(cloud: StrictCloudWatch, **more: str) -> dict[str, Any]:
    given = {"log-group": GROUP, "endpoint-url": cloud.url, "sts-endpoint-url": cloud.url} | more
    return {"name": "aws_cloudwatch_sink", "properties": given}


WITH_SECRETS = {"access-key-id": "AKIASOURCE", "secret-access-key": "${secretRef:aws_key}"}


def test_a_tenants_pipeline_is_tried_with_the_tenants_secrets(
    auditflow: Run, cloud: StrictCloudWatch
) -> None:
    known(cloud, allow("logs:*", resource="*"))
    of_tenant("acme", to_cloudwatch(cloud, **WITH_SECRETS))
    hold("acme", aws_key="very-secret")
    answer = auditflow("doctor", "--write")
    assert answer.code == 0, answer.out
    [record] = cloud.events(GROUP, account="111111111111")
    assert json.loads(record.message)["extra"]["pipeline"] == "acme/p0"
    steps = "secrets ok, credentials ok, log group ok, put ok, read back ok"
    assert answer.out == f"acme/p0, cloudwatch:us-east-1:{GROUP}:auditflow: {steps}\n", "well: one line"


def test_a_secret_that_is_missing_is_named_whatever_the_sink(auditflow: Run, cloud: StrictCloudWatch) -> None:
    hook = {"webhook-url": "https://a.example/${secretRef:path}", "secret": "${secretRef:hook_key}"}
    of_tenant("acme", {"name": "webhook_sink", "properties": hook}, {"name": "logging_sink"})
    hold("acme", path="x")
    answer = auditflow("doctor", "--format", "json")
    assert answer.code == 1
    [found] = json.loads(answer.out)["pipelines"]
    assert (found["name"], found["destination"]) == ("acme/p0", "webhook_sink")
    [step] = found["steps"]
    assert (step["name"], step["status"]) == ("secrets", "failed")
    assert "'hook_key' of tenant 'acme' is missing" in step["said"]
    assert "acme/hook_key" in step["hint"]
    hold("acme", hook_key="k")
    assert auditflow("doctor").code == 0


def test_what_the_secrets_hold_is_not_told(auditflow: Run, cloud: StrictCloudWatch) -> None:
    of_tenant("acme", to_cloudwatch(cloud, **WITH_SECRETS | {"log-stream": "to-${secretRef:aws_key}"}))
    hold("acme", aws_key="very-secret")
    known(cloud, secret="another")
    answer = auditflow("doctor", "--format", "json")
    assert answer.code == 1
    assert "very-secret" not in answer.out + answer.err
    hold("acme", aws_key="very:secret")
    answer = auditflow("doctor")
    assert "does not accept its properties: log-stream" in answer.out
    assert "very:secret" not in answer.out + answer.err


def test_what_tenants_share_is_tried_once_and_told_together(auditflow: Run, cloud: StrictCloudWatch) -> None:
    properties = {"access-key-id": "AKIASOURCE", "secret-access-key": "wrong"}
    known(cloud)
    for n in range(7):
        of_tenant(f"t{n}", to_cloudwatch(cloud, **properties), {"name": "logging_sink"})
    answer = auditflow("doctor")
    assert answer.code == 1
    assert answer.out.startswith("t0/p0, t1/p0, t2/p0, t3/p0, t4/p0 and 2 more, cloudwatch:")
    assert answer.out.count("failed ") == 1
    assert len(cloud.requests) == 1


def test_a_broken_file_of_a_tenant_fails_and_the_others_are_examined(
    auditflow: Run, cloud: StrictCloudWatch
) -> None:
    of_tenant("acme", to_cloudwatch(cloud, **WITH_SECRETS))
    hold("acme", aws_key="very-secret")
    Path("tenants", "globex.yaml").write_text("tenantId: globex\npiplines: []\n")
    answer = auditflow("doctor")
    assert answer.code == 1
    assert "left out: tenants/globex.yaml:2:1: piplines: unknown property" in answer.err
    assert answer.out.startswith("acme/p0, ")
