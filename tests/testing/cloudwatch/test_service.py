import gzip
import json

import httpx2
import pytest

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIATEST/20261118/us-east-1/{}/aws4_request, SignedHeaders=host, Signature="
    + "0" * 64
)


@pytest.fixture
def post(cloud):
    """Send a signed request as it is; gives status and decoded answer."""

    def call(body, target="Logs_20140328.PutLogEvents", service="logs", **headers):
        sent = {
            "X-Amz-Target": target,
            "X-Amz-Date": "20261118T000000Z",
            "Authorization": AUTHORIZATION.format(service),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = httpx2.post(cloud.url, content=body, headers=sent)
        return answer.status_code, answer.json()

    return call


@pytest.mark.parametrize(
    "target",
    ["Logs_20140328.Frobnicate", "Logs_20140328.", "", "Kinesis_20131202.PutRecords", "PutLogEvents"],
)
def test_an_unknown_operation_is_refused(target, post):
    status, answer = post(b"{}", target)
    assert (status, answer["__type"]) == (400, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b"\xff{}", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body, post):
    status, answer = post(body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_a_gzip_body_is_read(post, stream, cloud, clock):
    batch = [{"timestamp": clock.ms, "message": "ü"}]
    body = gzip.compress(json.dumps(stream | {"logEvents": batch}, ensure_ascii=False).encode())
    assert post(body, Content_Encoding="gzip")[0] == 200
    assert cloud.events("/audit")[0].message == "ü"
    assert cloud.requests[-1].wire_bytes == len(body)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", b"{}"), ("gzip", gzip.compress(b"{}")[:-4]), ("br", b"{}")],
    ids=["no gzip", "cut gzip", "brotli"],
)
def test_a_body_in_another_encoding_than_said_is_refused(encoding, body, post):
    assert post(body, Content_Encoding=encoding)[1]["__type"] == "SerializationException"


def test_a_signature_for_another_service_is_refused(post):
    assert post(b"{}", service="s3")[1]["__type"] == "InvalidSignatureException"


def test_answers_carry_a_request_id(logs):
    assert logs.describe_log_groups()["ResponseMetadata"]["RequestId"]
