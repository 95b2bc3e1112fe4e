"""Where nobody is asked who he is, a web page changes nothing and a foreign name reaches nothing."""

from __future__ import annotations

import pytest

from auditflow.errors import ForeignHost, ForeignPage
from auditflow.ingest.auth.settings import AuthConfig
from auditflow.ingest.auth.web_pages import KNOWN, WebPages, web_pages_of

LOCAL = (b"host", b"localhost:8080")


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"LOCALHOST:8080", b"localhost.:8080", b"app.localhost:1", b"127.0.0.1:8080", b"127.8.9.1",
     b"[::1]:8080", b"audit.example.com", b"audit.example.com:8080", b""],
)  # fmt: skip
def test_loopbacks_names_and_its_own_are_answered(host: bytes):
    WebPages(["audit.example.com"]).check("POST", [(b"host", host)])


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"evil.example:8080", b"localhost.evil.example", b"0.0.0.0:8080", b"10.0.0.1", b"[fe80::1]",
     b"127.0.0.1.evil.example", b"xlocalhost", b"evil.example@localhost", b"localhost:8080@evil.example", b"\xff"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_names_are_not_whatever_is_asked(host: bytes, method: str):
    with pytest.raises(ForeignHost, match=r"server\.hosts|does not go by"):
        WebPages([]).check(method, [(b"host", host)])


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "TRACE"])
@pytest.mark.parametrize(
    "mark",
    [(b"origin", b"https://evil.example"), (b"origin", b"null"), (b"origin", b"http://localhost:3000"),
     (b"origin", b"file://localhost:8080"), (b"origin", b""), (b"sec-fetch-site", b"cross-site"),
     (b"sec-fetch-site", b"same-site"), (b"sec-fetch-site", b"Cross-Site")],
)  # fmt: skip
def test_a_foreign_page_changes_nothing(method: str, mark: tuple[bytes, bytes]):
    with pytest.raises(ForeignPage):
        WebPages([]).check(method, [LOCAL, mark])
    with pytest.raises(ForeignPage):  # a good one beside it helps nothing
        WebPages([]).check(method, [LOCAL, (b"origin", b"http://localhost:8080"), mark])


def test_it_may_ask_for_what_it_cannot_read():
    WebPages([]).check(
        "GET", [LOCAL, (b"origin", b"https://evil.example"), (b"sec-fetch-site", b"cross-site")]
    )


@pytest.mark.parametrize(
    "origin", [b"http://localhost:8080", b"https://LOCALHOST:8080", b"https://audit.example.com"]
)
def test_a_page_of_its_own_may(origin: bytes):
    pages = WebPages(["audit.example.com"])
    pages.check("POST", [LOCAL, (b"origin", origin), (b"sec-fetch-site", b"same-origin")])


def test_what_is_harmless_is_known_at_once_and_no_more_names_are_kept_than_that():
    pages = WebPages([])
    assert not pages.harmless({b"host": b"localhost:8080"})
    pages.check("POST", [LOCAL])
    assert pages.harmless({b"host": b"localhost:8080"})
    assert not pages.harmless({b"host": b"localhost:8080", b"origin": b"http://localhost:8080"})
    assert not pages.harmless({b"host": b"localhost:8080", b"sec-fetch-site": b"none"})
    for number in range(2 * KNOWN):
        pages.check("GET", [(b"host", b"localhost:%d" % number)])
    assert len(pages._known) == KNOWN


def test_who_configures_what_gets_what():
    anyone = AuthConfig.model_validate({"insecure-allow-anyone": True})
    keys = AuthConfig.model_validate({"api-keys": {}})
    assert web_pages_of([], keys) is None, "a page has no key"
    web_pages_of([], anyone).check("GET", [(b"host", b"auditflow.audit.svc")])
    with pytest.raises(ForeignPage):
        web_pages_of([], anyone).check("POST", [(b"host", b"a"), (b"origin", b"https://evil.example")])
    for auth in (anyone, keys):
        named = web_pages_of(["auditflow.audit.svc"], auth)
        named.check("GET", [(b"host", b"auditflow.audit.svc:8080")])
        named.check(
            "GET", [(b"host", b"10.1.2.3:8080")]
        )  # the kubelet calls addresses; no page's name is one
        with pytest.raises(ForeignHost):
            named.check("GET", [(b"host", b"evil.example")])
    with pytest.raises(ForeignHost):
        web_pages_of([], None).check("GET", [(b"host", b"10.1.2.3:8080")])
