"""Condition, sampling and transformers decide what a sink gets to see."""

from __future__ import annotations

import json

from auditflow.pipelines.decide.decision import Decide

EVENTS = [b'{"eventId": "%d", "n":%d}' % (n, n) for n in range(4)]  # as no encoder of ours would write it


def test_with_nothing_configured_bytes_pass_untouched_and_are_not_decoded():
    broken = [b"not even JSON"]
    decided = Decide()(range(1, 2), broken)
    assert decided.events is broken
    assert decided.originals is broken


def test_what_the_condition_does_not_match_is_filtered_and_the_rest_keeps_its_bytes():
    decided = Decide(lambda event: json.loads(event)["n"] % 2 == 0)(range(10, 14), EVENTS)
    assert decided.sequences == [10, 12]
    assert decided.events == [EVENTS[0], EVENTS[2]]
    assert decided.filtered == [11, 13]


def test_transformers_run_in_order_with_their_properties():
    def add(event, properties):
        return event | {"trace": [*event.get("trace", []), properties["name"]]}

    decided = Decide(transforms=[(add, {"name": "first"}), (add, {"name": "second"})])([1], EVENTS[:1])
    assert json.loads(decided.events[0])["trace"] == ["first", "second"]
    assert decided.originals == [EVENTS[0]]


def test_a_transformer_may_drop_an_event_or_make_several_of_it():
    def fan(event, _):
        return [{"part": i} for i in range(event["n"])] if event["n"] else None

    decided = Decide(transforms=[(fan, {})])([1, 2, 3], EVENTS[:3])
    assert decided.filtered == [1]
    assert decided.sequences == [2, 3, 3]
    assert [json.loads(event)["part"] for event in decided.events] == [0, 0, 1]


def test_a_transformer_that_raises_ends_that_event_only():
    def fussy(event, _):
        if event["n"] == 1:
            raise KeyError("actor")
        return event

    decided = Decide(transforms=[(fussy, {})])([1, 2], EVENTS[:2])
    assert decided.sequences == [1]
    assert decided.failed == [(2, EVENTS[1], "KeyError: 'actor'")]


def test_a_transformer_that_gives_something_else_ends_the_event_with_a_clear_reason():
    decided = Decide(transforms=[(lambda *_: "text", {})])([1], EVENTS[:1])
    assert decided.failed[0][2] == "TypeError: a transformer gives a dict, a list of dicts or None, not str"


def test_what_json_cannot_hold_ends_the_event():
    decided = Decide(transforms=[(lambda *_: {"x": object()}, {})])([1], EVENTS[:1])
    assert decided.events == []
    assert len(decided.failed) == 1


def test_numbers_that_no_float_holds_come_out_of_a_transformer_as_they_came():
    event = b'{"n":1e400,"m":[-1e999],"marked":true}'
    decided = Decide(transforms=[(lambda event, _: event | {"marked": True}, {})])([1], [event])
    assert (decided.events, decided.failed) == ([event], [])


def test_large_integers_and_unpaired_surrogates_of_a_transformer_are_kept():
    decided = Decide(transforms=[(lambda *_: {"big": 2**80, "half": "\ud800"}, {})])([1], EVENTS[:1])
    assert json.loads(decided.events[0]) == {"big": 2**80, "half": "\ud800"}
