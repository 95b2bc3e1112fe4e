import asyncio
import contextlib
import os
import socket
import ssl
import time
from email.utils import formatdate

import pytest

from auditflow.http_client import CallFailed, HttpClient
from auditflow.sinks._base import DELIVERED, Verdict
from auditflow.sinks._http import judge_answer, judge_failure, origin, retry_after, untrusted, web_address
from auditflow.testing.hostile_server import ANSWERS, HostileServer, answer

from .authority import Authority


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


def answer_on(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.recv(65536)  # until the client goes


def serve_once(listener, context):
    """Answer one connection with this TLS context; without one, in plain HTTP."""
    connection, _ = listener.accept()
    with contextlib.suppress(OSError), connection:
        if context is None:
            answer_on(connection)
            return
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
            try:
                secure.do_handshake()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    while os.read(
                        secure.fileno(), 65536
                    ):  # until the client goes: a reset would undo the alert
                        pass
                return
            answer_on(secure)


async def outcome_of(context, verify):
    """Call a server with this TLS context; judge what comes of it."""
    client = HttpClient(20, verify=verify)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve_once, listener, context))
        try:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
            answer = await client.request("POST", url, {}, b"{}")
            return judge_answer("it", answer.status, answer.headers)
        except CallFailed as error:
            return judge_failure("it", error)
        finally:
            await client.close()
            await serving


@pytest.fixture
def certificates(tmp_path):
    return Authority(tmp_path)


async def test_faults_of_tls_are_told_apart_and_duplicate_nothing(certificates):
    sound = certificates.context("127.0.0.1")
    wanting = certificates.context("127.0.0.1")
    wanting.verify_mode = ssl.CERT_REQUIRED
    wanting.load_verify_locations(certificates.file)
    expired = certificates.context("127.0.0.1", days=-1)
    trusted = certificates.trusted()
    old = certificates.trusted()
    old.minimum_version = ssl.TLSVersion.TLSv1_3
    only_old = certificates.context("127.0.0.1")
    only_old.maximum_version = ssl.TLSVersion.TLSv1_2
    found = {
        "sound": await outcome_of(sound, trusted),
        "expired": await outcome_of(expired, trusted),
        "name": await outcome_of(certificates.context("127.0.0.9"), trusted),
        "authority": await outcome_of(sound, True),
        "client": await outcome_of(wanting, trusted),
        "version": await outcome_of(only_old, old),
        "plain": await outcome_of(None, trusted),
    }
    assert {name: outcome.code for name, outcome in found.items()} == {
        "sound": "",
        "expired": "CertificateExpired",
        "name": "CertificateName",
        "authority": "UntrustedCertificate",
        "client": "ClientCertificate",
        "version": "TlsVersion",
        "plain": "NoTls",
    }
    del found["sound"]
    assert {outcome.verdict for outcome in found.values()} == {Verdict.BLOCKED}
    assert not any(outcome.ambiguous for outcome in found.values())
    assert all(outcome.hint for outcome in found.values())


async def ask_through(proxy, monkeypatch, url="http://destination.example/"):
    monkeypatch.setenv(f"{url.partition(':')[0]}_proxy", proxy)
    client = HttpClient(20)
    try:
        await client.request("POST", url, {}, b"{}")
    except CallFailed as error:
        return judge_failure("it", error)
    finally:
        await client.close()


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
async def test_what_a_proxy_refuses_is_the_proxys(status, monkeypatch):
    with HostileServer(answer(status, b"")) as proxy:
        address = proxy.url.replace("http://", "http://me:hunter2@")
        outcome = await ask_through(address, monkeypatch, "https://destination.example/")
    assert (outcome.verdict, outcome.code, outcome.ambiguous) == (Verdict.BLOCKED, "ProxyError", False)
    assert proxy.url in outcome.reason
    assert "hunter2" not in outcome.reason + outcome.hint


async def test_a_proxy_that_is_not_there_is_named(monkeypatch):
    unknown = await ask_through("http://no-such-proxy.invalid:1", monkeypatch)
    assert (unknown.verdict, unknown.code) == (Verdict.BLOCKED, "UnknownHost")
    assert "no-such-proxy.invalid" in unknown.reason
    refused = await ask_through("http://127.0.0.1:1", monkeypatch)
    assert (refused.verdict, refused.ambiguous) == (Verdict.RETRY, False)
    assert "http://127.0.0.1:1" in refused.reason
    odd = await ask_through("gopher://127.0.0.1:1", monkeypatch)
    assert (odd.verdict, odd.code) == (Verdict.BLOCKED, "ProxyError")


async def test_loopback_is_asked_without_a_proxy(monkeypatch):
    with HostileServer(answer()) as server, HostileServer(answer("403 Forbidden")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        client = HttpClient(20)
        assert (await client.request("GET", server.url)).status == 200
        await client.close()
        assert proxy.requests == []


async def test_of_prescribed_addresses_each_is_tried_and_no_other():
    with HostileServer(answer()) as server:

        async def addresses(host):
            assert host == "destination.example"
            return ["127.0.0.2", "127.0.0.1"]  # nobody listens at the first

        client = HttpClient(20, addresses=addresses)
        url = f"http://destination.example:{server.port}/path"
        assert (await client.request("GET", url)).status == 200
        assert b"host: destination.example" in server.requests[0].lower()
        await client.close()


async def test_waiting_for_a_connection_counts_towards_the_deadline():
    with HostileServer(ANSWERS["head that drips"]) as server:
        client = HttpClient(1.0, connections=1)
        began = time.monotonic()
        found = await asyncio.gather(
            *(client.request("GET", server.url) for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in found] == [CallFailed] * 3
        assert not all(each.sent for each in found)
        assert time.monotonic() - began < 10
        await client.close()
