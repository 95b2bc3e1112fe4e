import pytest

ROLE = "arn:aws:iam::222222222222:role/AuditFlowCloudWatchRole"
ASSUME = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}}
GUIDE_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "auditflow-unique-id"}},
        }
    ],
}
GUIDE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            "Resource": ["arn:aws:logs:us-east-1:222222222222:log-group:/aws/auditflow/production:*"],
        }
    ],
}
GIVEN = {"RoleArn": ROLE, "RoleSessionName": "auditflow", "ExternalId": "auditflow-unique-id"}


@pytest.fixture
def sts(strict, connect):
    """An STS client of the guide's source account, which may assume the role."""
    strict.add_identity("AKIASOURCE", "s", account="111111111111", policies=[ASSUME])
    return connect(strict, "sts", credentials=("AKIASOURCE", "s"))


def _keys(answer):
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


def test_any_role_is_assumed_while_none_is_registered(cloud, connect, clock):
    answer = connect(cloud, "sts").assume_role(RoleArn=ROLE, RoleSessionName="me", DurationSeconds=900)
    assert answer["Credentials"]["Expiration"].timestamp() == clock.seconds + 900
    assert answer["AssumedRoleUser"]["Arn"] == (
        "arn:aws:sts::222222222222:assumed-role/AuditFlowCloudWatchRole/me"
    )


def test_assumed_credentials_work_in_the_roles_account(sts, strict, connect, clock, refused):
    strict.add_role(ROLE, trust=GUIDE_TRUST, policies=[GUIDE_POLICY])
    strict.add_identity("AKIATARGET", "s", account="222222222222")
    owner = connect(strict, credentials=("AKIATARGET", "s"))
    owner.create_log_group(logGroupName="/aws/auditflow/production")
    keys = _keys(sts.assume_role(**GIVEN))
    logs = connect(strict, credentials=keys)
    names = {"logGroupName": "/aws/auditflow/production", "logStreamName": "app"}
    logs.create_log_stream(**names)
    logs.put_log_events(**names, logEvents=[{"timestamp": clock.ms, "message": "m"}])
    assert len(strict.events("/aws/auditflow/production", account="222222222222")) == 1
    assert refused(logs.create_log_group, logGroupName="/x")[0] == "AccessDeniedException"
    identity = connect(strict, "sts", credentials=keys).get_caller_identity()
    assert identity["Account"] == "222222222222"
    assert strict.requests[-1].identity.endswith("assumed-role/AuditFlowCloudWatchRole/auditflow")


@pytest.mark.parametrize("external_id", [None, "another-id"])
@pytest.mark.parametrize(
    "trust", [GUIDE_TRUST, ["arn:aws:iam::111111111111:root"]], ids=["policy", "principals"]
)
def test_a_wrong_or_missing_external_id_is_denied(external_id, trust, sts, strict, refused):
    strict.add_role(ROLE, trust=trust, external_id="auditflow-unique-id")
    given = {name: value for name, value in GIVEN.items() if name != "ExternalId"}
    code, message = refused(sts.assume_role, **given, **({"ExternalId": external_id} if external_id else {}))
    assert code == "AccessDenied"
    assert message == (
        "User: arn:aws:iam::111111111111:user/AKIASOURCE is not authorized to perform: sts:AssumeRole on "
        f"resource: {ROLE}"
    )
    sts.assume_role(**GIVEN)


def test_an_untrusted_principal_is_denied(sts, strict, refused):
    strict.add_role(ROLE, trust=["arn:aws:iam::333333333333:root"])
    assert refused(sts.assume_role, **GIVEN)[0] == "AccessDenied"


def test_an_unknown_role_is_denied(sts, strict, refused):
    strict.add_role(ROLE, trust=["*"])
    assert refused(sts.assume_role, **GIVEN | {"RoleArn": ROLE + "2"})[0] == "AccessDenied"


def test_across_accounts_both_sides_must_allow(strict, connect, refused):
    strict.add_role(ROLE, trust=["arn:aws:iam::111111111111:root"])
    strict.add_identity("AKIASOURCE", "s", account="111111111111", policies=[])
    sts = connect(strict, "sts", credentials=("AKIASOURCE", "s"))
    assert refused(sts.assume_role, **GIVEN)[0] == "AccessDenied"


def test_within_an_account_a_trust_that_names_the_caller_is_enough(strict, connect, refused):
    strict.add_identity("AKIAMATE", "s", account="222222222222", policies=[])
    sts = connect(strict, "sts", credentials=("AKIAMATE", "s"))
    strict.add_role(ROLE, trust=["arn:aws:iam::222222222222:root"])
    assert refused(sts.assume_role, **GIVEN)[0] == "AccessDenied"
    strict.add_role(ROLE, trust=["arn:aws:iam::222222222222:user/AKIAMATE"])
    sts.assume_role(**GIVEN)


def test_assumed_credentials_expire_at_logs_and_at_sts(cloud, connect, clock, refused):
    keys = _keys(connect(cloud, "sts").assume_role(RoleArn=ROLE, RoleSessionName="me"))
    logs, sts = connect(cloud, credentials=keys), connect(cloud, "sts", credentials=keys)
    clock.seconds += 3599
    logs.describe_log_groups()
    clock.seconds += 1
    assert refused(logs.describe_log_groups)[0] == "ExpiredTokenException"
    assert refused(sts.get_caller_identity)[0] == "ExpiredToken"


def test_sessions_can_be_made_shorter_than_asked(strict, connect, clock):
    strict.session_lifetime = 5
    answer = connect(strict, "sts").assume_role(RoleArn=ROLE, RoleSessionName="me", DurationSeconds=3600)
    assert answer["Credentials"]["Expiration"].timestamp() == clock.seconds + 5


@pytest.mark.parametrize(
    "changed",
    [
        {"RoleSessionName": "x"},
        {"RoleSessionName": "x" * 65},
        {"RoleSessionName": "with space"},
        {"RoleArn": "arn:aws:iam::222222222222:user/someone"},
        {"ExternalId": "x"},
        {"DurationSeconds": 899},
        {"DurationSeconds": 43_201},
    ],
    ids=str,
)
def test_parameters_beyond_the_limits_are_refused(changed, cloud, connect, refused):
    assert refused(connect(cloud, "sts").assume_role, **GIVEN | changed)[0] == "ValidationError"


def test_chained_roles_last_an_hour_at_most(cloud, connect, refused):
    keys = _keys(connect(cloud, "sts").assume_role(**GIVEN, DurationSeconds=43_200))
    chained = connect(cloud, "sts", credentials=keys)
    chained.assume_role(**GIVEN, DurationSeconds=3600)
    code, message = refused(chained.assume_role, **GIVEN, DurationSeconds=3601)
    assert code == "ValidationError"
    assert "role chaining" in message


def test_a_web_identity_assumes_a_role_that_trusts_its_provider(strict, connect, refused):
    given = {"RoleArn": ROLE, "RoleSessionName": "pod", "WebIdentityToken": "header.payload.signature"}
    sts = connect(strict, "sts")
    strict.add_role(ROLE, trust=["arn:aws:iam::222222222222:root"])
    assert refused(sts.assume_role_with_web_identity, **given)[0] == "AccessDenied"
    strict.add_role(ROLE, trust=["arn:aws:iam::222222222222:oidc-provider/oidc.eks.example.com/id/1"])
    keys = _keys(sts.assume_role_with_web_identity(**given))
    connect(strict, credentials=keys).create_log_group(logGroupName="/a")
    assert strict.requests[-1].account == "222222222222"


def test_the_guides_policy_simulation_answers_from_registered_policies(strict, connect):
    strict.add_role(ROLE, trust=["*"], policies=[GUIDE_POLICY])
    arn = "arn:aws:logs:us-east-1:222222222222:log-group:/aws/auditflow/production:*"
    answer = connect(strict, "iam").simulate_principal_policy(
        PolicySourceArn=ROLE, ActionNames=["logs:PutLogEvents", "logs:CreateLogGroup"], ResourceArns=[arn]
    )
    decisions = {each["EvalActionName"]: each["EvalDecision"] for each in answer["EvaluationResults"]}
    assert decisions == {"logs:PutLogEvents": "allowed", "logs:CreateLogGroup": "implicitDeny"}


def test_an_operation_that_is_not_there_is_refused(cloud, connect, refused):
    assert refused(connect(cloud, "sts").get_session_token)[0] == "InvalidAction"
