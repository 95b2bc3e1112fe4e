"""`auditflow reload` says what has changed."""

from __future__ import annotations


def test_it_says_what_has_changed(auditflow, server):
    answer = auditflow("reload", "--url", server.url)
    assert (answer.code, answer.out) == (0, "loaded again; changed: no pipeline\n")


def test_a_server_that_is_away_is_told(auditflow):
    answer = auditflow("reload", "--url", "http://127.0.0.1:1")
    assert answer.code == 1
    assert "cannot be reached" in answer.err
