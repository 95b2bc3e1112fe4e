"""An event that became several ends when its last part has ended, and the worst end counts."""

from __future__ import annotations

from auditflow.pipelines.deliver.fan_out import Fanout
from auditflow.sinks._base import DELIVERED, Outcome, Verdict

REJECTED = Outcome(Verdict.REJECTED, "BAD")
BY_FALLBACK = Outcome(Verdict.DELIVERED, where={"destination": "second", "fallback": True})


def test_an_event_with_one_part_ends_at_once():
    fanout = Fanout()
    fanout.expect([5])
    assert fanout.end(5, DELIVERED) == DELIVERED
    assert fanout.end(5, REJECTED) == REJECTED


def test_an_event_with_three_parts_ends_with_the_third():
    fanout = Fanout()
    fanout.expect([5, 5, 5, 6])
    assert [fanout.end(5, DELIVERED) for _ in range(3)] == [None, None, DELIVERED]


def test_one_rejected_part_makes_the_event_rejected():
    fanout = Fanout()
    fanout.expect([5, 5, 5])
    ends = [fanout.end(5, outcome) for outcome in (BY_FALLBACK, REJECTED, DELIVERED)]
    assert ends == [None, None, REJECTED]


def test_of_several_rejections_the_first_counts():
    fanout = Fanout()
    fanout.expect([5, 5])
    assert fanout.end(5, REJECTED) is None
    assert fanout.end(5, Outcome(Verdict.REJECTED, "LATER")) == REJECTED


def test_an_event_of_which_the_fallback_has_a_part_is_with_the_fallback():
    fanout = Fanout()
    fanout.expect([5, 5])
    assert fanout.end(5, BY_FALLBACK) is None
    assert fanout.end(5, DELIVERED) == BY_FALLBACK
