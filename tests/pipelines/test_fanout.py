"""An event that became several ends when its last part has ended, and worst counts."""

from __future__ import annotations

from auditflow.pipelines.fanout import Fanout
from auditflow.sinks._base import Outcome, Verdict

REJECTED = Outcome(Verdict.REJECTED, "BAD")


def test_an_event_with_one_part_ends_at_once():
    fanout = Fanout()
    fanout.expect([5])
    assert fanout.end(5, None) == (True, None)
    assert fanout.end(5, REJECTED) == (True, REJECTED)


def test_an_event_with_three_parts_ends_with_the_third():
    fanout = Fanout()
    fanout.expect([5, 5, 5, 6])
    assert [fanout.end(5, None)[0] for _ in range(3)] == [False, False, True]


def test_one_rejected_part_makes_the_event_rejected():
    fanout = Fanout()
    fanout.expect([5, 5])
    assert fanout.end(5, REJECTED) == (False, None)
    assert fanout.end(5, None) == (True, REJECTED)
