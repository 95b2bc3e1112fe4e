import gzip
import hashlib

import httpx2
import pytest

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                "logs:DescribeLogStreams",
                "logs:CreateLogGroup",
            ],
            "Resource": ["arn:aws:logs:us-east-1:111111111111:log-group:/aws/auditflow/*"],
        }
    ],
}


@pytest.fixture
def user(strict, connect):
    """A Logs client of a registered user with the guide's policy."""
    strict.add_identity("AKIAUSER", "topsecret", account="111111111111", policies=[POLICY])
    return connect(strict, credentials=("AKIAUSER", "topsecret"))


def test_without_identities_any_key_is_taken_for_the_default_account(cloud, connect):
    sts = connect(cloud, "sts", credentials=("whatever", "anything"))
    identity = sts.get_caller_identity()
    assert identity["Account"] == "123456789012"
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/whatever"


def test_an_unsigned_request_is_refused(cloud):
    answer = httpx2.post(
        cloud.url, content=b"{}", headers={"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    )
    assert answer.status_code == 400
    assert answer.json()["__type"] == "MissingAuthenticationTokenException"


def test_a_malformed_signature_is_refused(cloud):
    headers = {
        "X-Amz-Target": "Logs_20140328.DescribeLogGroups",
        "Authorization": "AWS4-HMAC-SHA256 nonsense",
    }
    answer = httpx2.post(cloud.url, content=b"{}", headers=headers)
    assert answer.json()["__type"] == "IncompleteSignatureException"


def test_an_unknown_key_is_refused_once_identities_are_registered(user, strict, connect, refused):
    other = ("AKIAOTHER", "x")
    assert refused(connect(strict, credentials=other).describe_log_groups)[0] == "UnrecognizedClientException"
    assert refused(connect(strict, "sts", credentials=other).get_caller_identity)[0] == "InvalidClientTokenId"


def test_a_wrong_secret_is_found_by_the_signature(user, strict, connect, refused):
    wrong = ("AKIAUSER", "guess")
    assert refused(connect(strict, credentials=wrong).describe_log_groups)[0] == "InvalidSignatureException"
    assert (
        refused(connect(strict, "sts", credentials=wrong).get_caller_identity)[0] == "SignatureDoesNotMatch"
    )


@pytest.mark.parametrize("digest_header", [False, True])
def test_a_body_changed_after_signing_is_found(digest_header, user, refused):
    if digest_header:
        user.meta.events.register("before-sign.cloudwatch-logs.*", _state_digest)
    user.create_log_group(logGroupName="/aws/auditflow/honest")
    user.meta.events.register("before-send.cloudwatch-logs.*", _tamper)
    assert refused(user.create_log_group, logGroupName="/aws/auditflow/a")[0] == "InvalidSignatureException"


def _state_digest(request, **_):
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(request.data).hexdigest()


def _tamper(request, **_):
    request.body = request.body.replace(b"/aws/auditflow/a", b"/aws/auditflow/b")


def test_a_compressed_body_is_verified_as_it_was_signed(user, strict, clock):
    def compress(params, **_):
        params["body"] = gzip.compress(params["body"])
        params["headers"]["Content-Encoding"] = "gzip"

    names = {"logGroupName": "/aws/auditflow/a", "logStreamName": "s"}
    user.create_log_group(logGroupName=names["logGroupName"])
    user.create_log_stream(**names)
    user.meta.events.register("before-call.cloudwatch-logs.PutLogEvents", compress)
    user.put_log_events(**names, logEvents=[{"timestamp": clock.ms, "message": "m"}])
    assert len(strict.events("/aws/auditflow/a", account="111111111111")) == 1


def test_what_no_policy_allows_is_denied_in_the_services_words(user, refused):
    code, message = refused(user.put_log_events, logGroupName="/other", logStreamName="s", logEvents=[{}])
    assert code == "AccessDeniedException"
    assert message == (
        "User: arn:aws:iam::111111111111:user/AKIAUSER is not authorized to perform: logs:PutLogEvents on "
        "resource: arn:aws:logs:us-east-1:111111111111:log-group:/other:log-stream:s because no "
        "identity-based policy allows the logs:PutLogEvents action"
    )


def test_an_explicit_deny_says_so(strict, connect, refused):
    deny = {"Statement": {"Effect": "Deny", "Action": "logs:DeleteLogGroup", "Resource": "*"}}
    allow = {"Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}
    strict.add_identity("AKIAUSER", "s", policies=[allow, deny])
    logs = connect(strict, credentials=("AKIAUSER", "s"))
    logs.create_log_group(logGroupName="/a")
    code, message = refused(logs.delete_log_group, logGroupName="/a")
    assert code == "AccessDeniedException"
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_groups_are_described_only_by_who_may_describe_them_all(user, refused):
    code, message = refused(user.describe_log_groups, logGroupNamePrefix="/aws/auditflow/")
    assert code == "AccessDeniedException"
    assert (
        "logs:DescribeLogGroups on resource: arn:aws:logs:us-east-1:111111111111:log-group::log-stream:"
        in message
    )


def test_creating_with_tags_needs_the_permission_to_tag(user, strict, connect, refused):
    given = {"logGroupName": "/aws/auditflow/a", "tags": {"a": "b"}}
    code, message = refused(user.create_log_group, **given)
    assert code == "AccessDeniedException"
    assert (
        message == "User with accountId: 111111111111 is not authorized to perform CreateLogGroup with Tags"
    )
    tagging = {"Statement": {"Effect": "Allow", "Action": "logs:TagResource", "Resource": "*"}}
    strict.add_identity("AKIATAG", "s", account="111111111111", policies=[POLICY, tagging])
    connect(strict, credentials=("AKIATAG", "s")).create_log_group(**given)


def test_other_regions_are_not_covered_by_a_policy_for_one(user, strict, connect, refused):
    elsewhere = connect(strict, credentials=("AKIAUSER", "topsecret"), region="eu-west-1")
    code, _ = refused(elsewhere.create_log_group, logGroupName="/aws/auditflow/a")
    assert code == "AccessDeniedException"


def test_an_identity_without_policies_may_do_everything_and_with_none_nothing(strict, connect, refused):
    strict.add_identity("AKIAROOT", "s")
    strict.add_identity("AKIANOBODY", "s", policies=[])
    connect(strict, credentials=("AKIAROOT", "s")).create_log_group(logGroupName="/a")
    nobody = connect(strict, credentials=("AKIANOBODY", "s"))
    assert refused(nobody.create_log_group, logGroupName="/b")[0] == "AccessDeniedException"


def test_registered_session_credentials_need_their_token_and_expire(strict, connect, clock, refused):
    strict.add_identity("ASIASESSION", "s", token="tok", expires=clock.seconds + 60)
    logs = connect(strict, credentials=("ASIASESSION", "s", "tok"))
    logs.describe_log_groups()
    for credentials in (("ASIASESSION", "s"), ("ASIASESSION", "s", "other")):
        wrong = connect(strict, credentials=credentials)
        assert refused(wrong.describe_log_groups)[0] == "UnrecognizedClientException"
    clock.seconds += 60
    assert refused(logs.describe_log_groups)[0] == "ExpiredTokenException"


def test_secrets_are_not_shown(strict):
    shown = repr(strict.add_identity("AKIAUSER", "topsecret", token="tokensecret"))
    assert "topsecret" not in shown
    assert "tokensecret" not in shown
