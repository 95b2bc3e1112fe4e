import ssl
import time
from email.utils import formatdate

import pytest

from auditflow.sinks._base import DELIVERED, Verdict
from auditflow.sinks._http import judge_answer, origin, retry_after, untrusted, web_address


@pytest.mark.parametrize("url", ["http://localhost:8080", "https://example.com/a?b=c", "https://[::1]:1/"])
def test_a_web_address_is_taken(url):
    assert web_address(url) == url


@pytest.mark.parametrize("url", ["", "example.com", "ftp://a.b", "https://", "http://a b", "http://a:port"])
def test_anything_else_is_refused(url):
    with pytest.raises(ValueError, match=r"expected a URL"):
        web_address(url)


@pytest.mark.parametrize(
    "url", ["https://me:hunter2/x@a.b", "https://me:hunter2\u2100@a.b", "https://me:hunter2@[a"]
)
def test_what_is_wrong_with_a_url_is_said_without_a_piece_of_it(url):
    with pytest.raises(ValueError, match=r"expected a URL such as https://example.com/path$"):
        web_address(url)


def test_the_origin_of_a_url_leaves_its_secrets_out():
    assert origin("https://user:pass@example.com:8443/token?key=1") == "https://example.com:8443"


def test_a_time_to_wait_is_read_as_seconds_or_as_a_date():
    assert retry_after("12") == 12
    assert 50 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after(formatdate(time.time() - 60, usegmt=True)) == 0
    assert [retry_after(value) for value in (None, "", "soon", "-3")] == [0] * 4


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_delivered(status):
    assert judge_answer("it", status, {}) is DELIVERED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_passes_by_itself_is_tried_again_when_asked(status):
    outcome = judge_answer("it", status, {"retry-after": "5"})
    assert (outcome.verdict, outcome.retry_after) == (Verdict.RETRY, 5)


@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 405, 407, 410])
def test_what_somebody_must_fix_is_blocked_with_a_hint(status):
    outcome = judge_answer("it", status, {"location": "https://other.example/?token=1"})
    assert outcome.verdict is Verdict.BLOCKED
    assert outcome.hint
    assert "token" not in outcome.hint


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_other_client_errors_reject_the_event(status):
    assert judge_answer("it", status, {}).verdict is Verdict.REJECTED


def test_a_certificate_that_is_not_trusted_is_seen_through_its_wrappers():
    error = RuntimeError("wrapped")
    error.__cause__ = ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    assert untrusted(error)
    assert not untrusted(RuntimeError("other"))
