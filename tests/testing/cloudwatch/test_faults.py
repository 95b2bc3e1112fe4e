import contextlib
import threading
import time

import httpx2
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from auditflow.testing.cloudwatch import Fault

ERRORS = [
    ("throttle", "ThrottlingException", 400),
    ("unavailable", "ServiceUnavailableException", 503),
    ("internal", "InternalFailure", 500),
    ("deny", "AccessDeniedException", 400),
    ("expired-token", "ExpiredTokenException", 400),
    ("unrecognized-client", "UnrecognizedClientException", 400),
    ("kms-disabled", "InvalidParameterException", 400),
    ("kms-denied", "AccessDeniedException", 400),
    ("invalid-sequence-token", "InvalidSequenceTokenException", 400),
    ("already-accepted", "DataAlreadyAcceptedException", 400),
    ("error", "InternalFailure", 500),
]


@pytest.fixture
def put(logs, stream, clock):
    return lambda: logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}])


@pytest.mark.parametrize(("kind", "code", "status"), ERRORS)
def test_an_error_on_demand_looks_like_the_services(kind, code, status, put, cloud):
    fault = cloud.fault(kind, times=1, retry_after=7)
    with pytest.raises(ClientError) as caught:
        put()
    answer = caught.value.response
    assert answer["Error"]["Code"] == code
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    assert (cloud.requests[-1].outcome, cloud.requests[-1].fault) == (code, kind)
    assert len(cloud.events("/audit")) == (1 if kind == "already-accepted" else 0)
    put()
    assert fault.hits == 1


def test_a_denial_names_the_caller_the_action_and_the_resource(put, cloud, refused):
    cloud.fault("deny")
    assert refused(put)[1] == (
        "User: arn:aws:iam::123456789012:user/AKIATEST is not authorized to perform: logs:PutLogEvents on "
        "resource: arn:aws:logs:us-east-1:123456789012:log-group:/audit:log-stream:app because no "
        "identity-based policy allows the logs:PutLogEvents action"
    )


def test_code_status_and_message_can_be_chosen(put, cloud, refused):
    cloud.fault("error", code="LimitExceededException", status=429, message="Slow down")
    assert refused(put) == ("LimitExceededException", "Slow down")
    assert cloud.requests[-1].status == 429


def test_a_reset_before_acceptance_stores_nothing(put, cloud):
    cloud.fault("reset", times=1)
    with pytest.raises(ConnectionClosedError):
        put()
    assert cloud.events("/audit") == []
    assert (cloud.requests[-1].outcome, cloud.requests[-1].status) == ("reset", 0)
    put()


def test_a_reset_after_acceptance_stores_the_events(put, cloud):
    cloud.fault("reset-after", times=1)
    with pytest.raises(ConnectionClosedError):
        put()
    assert len(cloud.events("/audit")) == 1


def test_a_hang_keeps_the_client_waiting(cloud, connect, stream, clock):
    cloud.fault("hang", operation="PutLogEvents", times=1, seconds=0.3)
    impatient = connect(cloud, read_timeout=0.1)
    with pytest.raises(ReadTimeoutError):
        impatient.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}])
    cloud.wait_for(1, "/audit")


def test_a_request_that_hangs_over_a_reset_is_not_counted_after_it(cloud, connect, stream, clock):
    fault = cloud.fault("hang", times=1, seconds=0.5)
    hanging = threading.Thread(target=connect(cloud).describe_log_groups)
    hanging.start()
    cloud.wait_for(lambda: fault.hits == 1)
    cloud.reset()
    hanging.join()
    assert cloud.count("DescribeLogGroups") == 0


def test_a_drip_answers_slowly_and_whole(put, cloud):
    cloud.fault("drip", seconds=0.3)
    began = time.monotonic()
    assert put()["nextSequenceToken"]
    assert time.monotonic() - began >= 0.3


def test_garbage_is_an_answer_without_the_services_marks_and_stores_nothing(put, cloud):
    cloud.fault("garbage", times=1)
    answer = put()
    assert "RequestId" not in answer["ResponseMetadata"]
    assert cloud.events("/audit") == []
    assert cloud.requests[-1].outcome == "garbage"


def test_a_fault_strikes_only_what_it_matches(put, cloud, logs, refused):
    cloud.fault("throttle", operation="PutLogEvents", group="/other*")
    cloud.fault("throttle", operation="CreateLogStream", group="/aud?t", stream="x*")
    cloud.fault("throttle", region="eu-west-1")
    cloud.fault("throttle", account="222222222222")
    put()
    logs.create_log_stream(logGroupName="/audit", logStreamName="other")
    assert (
        refused(logs.create_log_stream, logGroupName="/audit", logStreamName="xy")[0] == "ThrottlingException"
    )


def test_a_rate_strikes_about_its_share(put, cloud):
    fault = cloud.fault("throttle", rate=0.2)
    for _ in range(200):
        with contextlib.suppress(ClientError):
            put()
    assert 20 <= fault.hits <= 60
    assert len(cloud.events("/audit")) == 200 - fault.hits


def test_faults_of_one_kind_take_their_turns(put, cloud, refused):
    cloud.fault("throttle", times=1)
    cloud.fault("unavailable", times=1)
    assert refused(put)[0] == "ThrottlingException"
    assert refused(put)[0] == "ServiceUnavailableException"
    put()


def test_faults_of_different_kinds_combine(put, cloud, refused):
    cloud.fault("hang", seconds=0.2)
    cloud.fault("throttle")
    began = time.monotonic()
    assert refused(put)[0] == "ThrottlingException"
    assert time.monotonic() - began >= 0.2
    assert cloud.requests[-1].fault == "hang,throttle"


def test_sts_fails_on_demand_in_its_own_words(cloud, connect, refused):
    sts = connect(cloud, "sts")
    for kind, code in (
        ("throttle", "Throttling"),
        ("deny", "AccessDenied"),
        ("expired-token", "ExpiredToken"),
    ):
        cloud.fault(kind, operation="GetCallerIdentity", times=1)
        assert refused(sts.get_caller_identity)[0] == code
    assert sts.get_caller_identity()["Account"]


def test_cleared_faults_strike_no_more(put, cloud):
    cloud.fault("throttle")
    cloud.clear_faults()
    put()
    assert cloud.faults() == []


@pytest.mark.parametrize("given", [{}, {"kind": "nonsense"}, {"kind": "throttle", "time": 1}])
def test_what_is_no_fault_is_refused_by_name(given):
    with pytest.raises(ValueError, match=r"kind|nonsense|time"):
        Fault.of(given)


def test_stopping_does_not_wait_for_a_hang(strict, connect, clock):

    strict.fault("hang", seconds=60)
    logs = connect(strict, read_timeout=30)
    waiting = threading.Thread(target=_ignoring, args=(logs.describe_log_groups,))
    waiting.start()
    strict.wait_for(lambda: strict.faults()[0]["hits"] == 1)
    began = time.monotonic()
    strict.stop()
    waiting.join(5)
    assert time.monotonic() - began < 5
    assert not waiting.is_alive()


def _ignoring(call):
    with contextlib.suppress(ConnectionClosedError):
        call()


def raw_put(cloud, stream):
    """Put an event with a client that follows nothing and mends nothing."""
    headers = {
        "X-Amz-Target": "Logs_20140328.PutLogEvents", "X-Amz-Date": "20261118T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATEST/20261118/us-east-1/logs/aws4_request, "
        "SignedHeaders=host, Signature=" + "0" * 64,
    }  # fmt: skip
    event = {"timestamp": int(cloud.clock() * 1000), "message": "m"}
    return httpx2.post(cloud.url, json=stream | {"logEvents": [event]}, headers=headers, timeout=60)


@pytest.mark.parametrize(("kind", "status"), [("redirect", 307), ("flood", 503)])
def test_what_answers_in_the_services_place_stores_nothing(kind, status, stream, cloud):
    cloud.fault(kind, times=1)
    answer = raw_put(cloud, stream)
    assert answer.status_code == status
    assert ("location" in answer.headers, len(answer.content) > 2**20) == (
        kind == "redirect",
        kind == "flood",
    )
    assert cloud.events("/audit") == []
    assert cloud.requests[-1].outcome == kind


@pytest.mark.parametrize(
    ("kind", "error"), [("undecodable", httpx2.DecodingError), ("cut", httpx2.RemoteProtocolError)]
)
def test_an_answer_that_nobody_can_read_was_given_after_acceptance(kind, error, stream, cloud):
    cloud.fault(kind, times=1)
    with pytest.raises(error):
        raw_put(cloud, stream)
    assert len(cloud.events("/audit")) == 1
    raw_put(cloud, stream)
    assert len(cloud.events("/audit")) == 2
