import socket

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.errors import Place, classify, needs_new_credentials

PLACE = Place("eu-west-1", "/aws/auditflow/production", "app-events")
URL = "https://logs.eu-west-1.amazonaws.com/"
USER = "arn:aws:sts::111111111111:assumed-role/Writer/pod-1"
DENIED = (
    f"User: {USER} is not authorized to perform: logs:PutLogEvents on resource: "
    "arn:aws:logs:eu-west-1:222222222222:log-group:/aws/auditflow/production:log-stream:app-events "
    "because no identity-based policy allows the logs:PutLogEvents action"
)


def fault(code, message="no", *, status=400, operation="PutLogEvents", headers=None):
    answer = {"HTTPStatusCode": status, "HTTPHeaders": headers or {}}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": answer}, operation)


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "Throttling", "TooManyRequestsException", "LimitExceededException", "InternalFailure",
     "ServiceUnavailableException", "OperationAbortedException", "KMSThrottlingException", "500", "502", "503",
     "SomethingNewException"],
)  # fmt: skip
def test_what_passes_by_itself_is_tried_again_under_its_own_name(code):
    outcome = classify(fault(code, status=503), PLACE)
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.RETRY, code, False)


def test_a_request_to_wait_is_honoured():
    assert classify(fault("ThrottlingException", headers={"retry-after": "7"}), PLACE).retry_after == 7


@pytest.mark.parametrize(
    "error",
    [
        boto.ReadTimeoutError(endpoint_url=URL, error="t"),
        boto.ConnectionClosedError(endpoint_url=URL, error="reset", request=None),
        boto.HTTPClientError(error="broken"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
)
def test_no_answer_after_sending_may_mean_that_it_was_taken(error):
    outcome = classify(error, PLACE)
    assert (outcome.verdict, outcome.ambiguous) == (Verdict.RETRY, True)


@pytest.mark.parametrize(
    "error",
    [
        boto.ConnectTimeoutError(endpoint_url=URL, error="t"),
        boto.EndpointConnectionError(endpoint_url=URL, error="refused"),
        boto.ProxyConnectionError(proxy_url="http://proxy", error="refused"),
        boto.MetadataRetrievalError(error_msg="busy"),
        RuntimeError("anything"),
    ],
)
def test_a_request_that_was_never_sent_cannot_be_a_duplicate(error):
    outcome = classify(error, PLACE)
    assert (outcome.verdict, outcome.ambiguous, outcome.code) == (Verdict.RETRY, False, type(error).__name__)


def test_a_denial_names_action_resource_identity_and_the_statement_to_add():
    outcome = classify(fault("AccessDeniedException", DENIED), PLACE)
    resource = "arn:aws:logs:eu-west-1:222222222222:log-group:/aws/auditflow/production:*"
    assert outcome.verdict is Verdict.BLOCKED
    assert USER in outcome.hint
    assert f'{{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "{resource}"}}' in outcome.hint


def test_a_denial_without_particulars_still_says_what_is_missing_and_where():
    outcome = classify(fault("403", "Forbidden", status=403, operation="CreateLogGroup"), PLACE)
    assert outcome.verdict is Verdict.BLOCKED
    assert "logs:CreateLogGroup" in outcome.hint
    assert "arn:aws:logs:eu-west-1:*:log-group:/aws/auditflow/production:*" in outcome.hint


def test_a_resource_in_china_is_named_by_its_partition():
    outcome = classify(fault("AccessDeniedException"), Place("cn-north-1", "g", "s"))
    assert "arn:aws-cn:logs:cn-north-1" in outcome.hint


def test_an_explicit_deny_is_not_fixed_by_allowing_more():
    outcome = classify(
        fault("AccessDeniedException", "… with an explicit deny in a service control policy"), PLACE
    )
    assert "remove that deny" in outcome.hint
    assert '"Allow"' not in outcome.hint


def test_a_role_that_may_not_be_assumed_names_both_sides():
    role = "arn:aws:iam::222222222222:role/Writer"
    message = f"User: {USER} is not authorized to perform: sts:AssumeRole on resource: {role}"
    place = Place("eu-west-1", "g", "s", role)
    outcome = classify(fault("AccessDenied", message, status=403, operation="AssumeRole"), place)
    assert outcome.verdict is Verdict.BLOCKED
    assert all(part in outcome.hint for part in (USER, role, "sts:AssumeRole", "trust policy", "external id"))


def test_sts_that_throttles_is_tried_again():
    assert classify(fault("Throttling", operation="AssumeRole"), PLACE).verdict is Verdict.RETRY


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (fault("ExpiredTokenException"), "expired"),
        (fault("UnrecognizedClientException"), "access-key-id"),
        (fault("InvalidClientTokenId", status=403), "access-key-id"),
        (fault("InvalidSignatureException", "does not match"), "secret-access-key"),
        (fault("SignatureDoesNotMatch", "does not match"), "secret-access-key"),
        (fault("InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027"), "clock"),
        (fault("RequestExpired"), "clock"),
        (fault("InvalidParameterException", "The specified KMS key is disabled"), "KMS key"),
        (fault("AccessDeniedException", "The specified KMS key is not allowed to be used"), "KMS key"),
        (fault("KMSDisabledException"), "KMS key"),
        (fault("InvalidParameterException", "Value at 'logGroupName' failed to satisfy constraint"), "log-group"),
        (boto.NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "~/.aws"),
        (boto.ProfileNotFound(profile="prod"), "list-profiles"),
        (boto.UnauthorizedSSOTokenError(), "expired"),
    ],
)  # fmt: skip
def test_what_somebody_must_fix_is_blocked_and_says_how(error, words):
    outcome = classify(error, PLACE)
    assert outcome.verdict is Verdict.BLOCKED
    assert words in outcome.hint


def unresolved(errno):
    error = boto.EndpointConnectionError(endpoint_url=URL, error="Failed to resolve")
    error.__cause__ = socket.gaierror(errno, "…")
    return classify(error, PLACE)


def test_a_host_that_does_not_exist_is_blocked_but_a_silent_name_server_is_not():
    assert unresolved(socket.EAI_NONAME).verdict is Verdict.BLOCKED
    assert unresolved(socket.EAI_AGAIN).verdict is Verdict.RETRY


@pytest.mark.parametrize("code", ["InvalidParameterException", "SerializationException", "413"])
def test_a_request_refused_for_its_content_is_rejected(code):
    assert classify(fault(code, "Log events must be …"), PLACE).verdict is Verdict.REJECTED


def test_what_was_accepted_before_is_delivered():
    assert classify(fault("DataAlreadyAcceptedException"), PLACE).verdict is Verdict.DELIVERED


@pytest.mark.parametrize(
    "message",
    [
        "The Canonical String for this request should have been 'POST\n/\n\nx-amz-security-token:TOKEN'",
        "Authorization=AWS4-HMAC-SHA256 Credential=TOKEN/20260101, Signature=TOKEN",
    ],
)
@pytest.mark.parametrize(
    "code", ["InvalidSignatureException", "IncompleteSignatureException", "NewException"]
)
def test_a_message_that_quotes_the_signed_request_is_not_repeated(code, message):
    outcome = classify(fault(code, message), PLACE)
    assert "TOKEN" not in repr(outcome)
    assert code in outcome.reason


def test_new_credentials_may_fix_what_credentials_caused():
    assert needs_new_credentials(fault("ExpiredTokenException"))
    assert needs_new_credentials(fault("AccessDeniedException", DENIED))
    assert not needs_new_credentials(fault("ThrottlingException"))
    assert not needs_new_credentials(fault("RequestExpired"))
