# ruff: noqa: S101, PLR2004 - a test suite is made of assertions and literal expectations
"""The contract suite of the ledger: every implementation inherits it and passes (J8).

Used like `auditflow.testing.contracts.journal`.
"""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import json

import pytest

from auditflow.ledger import (
    LOST,
    Account,
    DeadLetter,
    Progress,
    Replay,
    Replayed,
    Selection,
    Update,
)
from auditflow.ledger.receipts import receipt
from auditflow.testing.contracts.ledger_of_dead_letters import LedgerOfDeadLetters, handed
from auditflow.testing.contracts.ledger_of_tenants import LedgerOfTenants


class LedgerContract(LedgerOfDeadLetters, LedgerOfTenants):
    """What every ledger does."""

    def test_the_first_pipelines_begin_at_the_oldest_event(self) -> None:
        """A lost ledger repeats work and never skips it."""
        ledger = self.make()
        assert (ledger.accounts(), ledger.finished()) == ([], None)
        ledger.register(["b", "a"], head=50, oldest=7)
        assert [(one.pipeline, one.active, one.base, one.progress) for one in ledger.accounts()] == [
            ("a", True, 7, Progress(7)),
            ("b", True, 7, Progress(7)),
        ]
        assert ledger.finished() == 7
        ledger.close()

    def test_a_later_pipeline_begins_at_the_head(self) -> None:
        """History is not delivered unasked."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        ledger.register(["a", "b"], head=50, oldest=1)
        assert {one.pipeline: one.base for one in ledger.accounts()} == {"a": 1, "b": 50}
        ledger.close()

    def test_progress_counters_and_letters_change_together(self) -> None:
        """J4."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        progress = Progress(1)
        progress.finish(1, 6)
        progress.finish(100, 3)
        letter = DeadLetter(
            "a", 6, "InvalidParameter", "too old", b'{"x":1}', attempts=3, first_failed=5, last_failed=9
        )
        lost = DeadLetter("a", 100, "LOST_IN_JOURNAL", "damaged", count=3)
        ledger.commit(
            [Update("a", progress, delivered=4, filtered=1, attempts=2, duplicates=1, letters=[letter, lost])]
        )
        progress.finish(7)  # the ledger has its own copy
        (account,) = ledger.accounts()
        expected = Progress(7)
        expected.finish(100, 3)
        assert account == Account(
            "a",
            active=True,
            base=1,
            progress=expected,
            delivered=4,
            filtered=1,
            dead_lettered=4,
            attempts=2,
            duplicates=1,
        )
        (first, second) = ledger.dead_letters()
        assert (first.sequence, first.code, first.event, first.attempts, first.last_failed) == (
            6,
            "InvalidParameter",
            b'{"x":1}',
            3,
            9,
        )
        assert (second.sequence, second.count, second.event) == (100, 3, b"")
        ledger.close()

    def test_additions_add_up(self) -> None:
        """Counts are additions, not totals, also of several updates in one commit."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        ledger.commit([Update("a", Progress(3), delivered=2), Update("b", Progress(2), filtered=1)])
        ledger.commit(
            [Update("a", Progress(4), delivered=1, attempts=1), Update("a", Progress(6), delivered=2)]
        )
        a, b = ledger.accounts()
        assert (a.progress.low, a.delivered, a.attempts, b.progress.low, b.filtered) == (6, 5, 1, 2, 1)
        assert ledger.finished() == 2
        ledger.close()

    def test_a_commit_that_fails_changes_nothing(self) -> None:
        """J4: an unknown pipeline spoils the whole commit."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        before = ledger.accounts()
        letter = DeadLetter("a", 1, "CODE", "reason", b"{}")
        failed = False
        try:
            ledger.commit(
                [Update("a", Progress(9), delivered=8, letters=[letter]), Update("nobody", Progress(2))]
            )
        except KeyError:
            failed = True
        assert failed
        assert (ledger.accounts(), ledger.dead_letters()) == (before, [])
        ledger.close()

    def test_an_inactive_pipeline_goes_on_where_it_stopped(self) -> None:
        """What it missed is still pending, as long as the journal has it."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        ledger.commit([Update("a", Progress(5), delivered=4)])
        ledger.register(["b"], head=10, oldest=1)
        assert [(one.active, one.owed_until) for one in ledger.accounts()] == [(False, 10), (True, None)]
        assert ledger.finished() == 1
        ledger.register(["a"], head=20, oldest=5)
        a, b = ledger.accounts()
        assert (a.active, a.base, a.progress, b.active) == (True, 1, Progress(5), False)
        assert ledger.finished() == 1, "b has not had its events, and gets no more"
        ledger.forget("b")
        assert ledger.finished() == 5
        ledger.register([], head=20, oldest=5, settled=["a"])
        assert ledger.finished() is None
        ledger.close()

    def test_what_an_inactive_pipeline_owes_is_kept_until_it_is_forgotten(self) -> None:
        """It ends where the pipeline left, and no note of a condition changes it."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        ledger.commit([Update("a", Progress(5), delivered=4)])
        ledger.register([], head=10, oldest=1)
        ledger.note({"a": '{"state": "retrying"}'})
        ledger.register([], head=30, oldest=1)
        (a,) = ledger.accounts()
        assert (a.owed_until, a.accepted(10), a.pending(10), ledger.finished()) == (10, 9, 5, 5)
        ledger.register(["a"], head=30, oldest=1)
        assert ledger.accounts()[0].owed_until is None
        for pipeline in ("a", "nobody"):
            with pytest.raises(KeyError):
                ledger.forget(pipeline)
        ledger.register([], head=30, oldest=1)
        ledger.forget("a")
        assert (ledger.accounts(), ledger.finished()) == ([], None)
        ledger.close()

    def test_what_was_evicted_while_it_was_inactive_moves_its_base(self) -> None:
        """The account still adds up: head - base = terminal + pending."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        progress = Progress(11)
        progress.finish(15, 2)
        progress.finish(40, 5)
        ledger.commit([Update("a", progress, delivered=17)])
        ledger.register(["b"], head=50, oldest=1)
        ledger.register(["a", "b"], head=60, oldest=42)
        account = ledger.accounts()[0]
        assert account.progress == Progress(45)
        pending = 60 - account.progress.low - account.progress.beyond()
        assert 60 - account.base == account.delivered + pending
        ledger.close()

    def test_an_active_pipeline_is_never_moved(self) -> None:
        """What is gone although it was awaited is for the pipeline to dead-letter."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        ledger.register(["a"], head=50, oldest=30)
        assert [(one.base, one.progress.low) for one in ledger.accounts()] == [(1, 1)]
        ledger.close()

    def test_the_condition_is_kept(self) -> None:
        """Status shows it; nothing else changes."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        assert ledger.accounts()[0].condition == "{}"
        ledger.note({"a": '{"state":"blocked"}'})
        ledger.commit([Update("a", Progress(2), delivered=1)])
        ledger.register(["a"], head=9, oldest=1)
        (account,) = ledger.accounts()
        assert (account.condition, account.delivered) == ('{"state":"blocked"}', 1)
        ledger.close()

    def test_letters_are_paged_by_id(self) -> None:
        """Ascending, of one pipeline or of all."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        for number in range(1, 8):
            name = "a" if number % 2 else "b"
            ledger.commit(
                [Update(name, Progress(1), letters=[DeadLetter(name, number, "CODE", "reason", b"{}")])]
            )
        letters = ledger.dead_letters()
        assert [letter.sequence for letter in letters] == [1, 2, 3, 4, 5, 6, 7]
        assert [letter.sequence for letter in ledger.dead_letters(after=letters[2].id, limit=2)] == [4, 5]
        assert [letter.sequence for letter in ledger.dead_letters(Selection("b"))] == [2, 4, 6]
        assert [
            letter.sequence for letter in ledger.dead_letters(Selection("a"), after=letters[0].id, limit=2)
        ] == [3, 5]
        assert ledger.dead_letters(Selection("nobody")) == []
        ledger.close()

    def test_a_wide_progress_is_kept_whole(self) -> None:
        """A bit per event, also far beyond `low`."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        progress = Progress(1)
        for first in range(3, 200_000, 7):
            progress.finish(first, 3)
        ledger.commit([Update("a", progress)])
        assert ledger.accounts()[0].progress == progress
        ledger.close()

    def test_a_pause_is_kept(self) -> None:
        """Whatever else changes."""
        ledger = self.with_letters()
        ledger.pause("a", paused=True)
        ledger.commit([Update("a", Progress(9))])
        ledger.register(["a", "b"], head=20, oldest=1)
        assert [one.paused for one in ledger.accounts()] == [True, False]
        ledger.pause("a", paused=False)
        assert [one.paused for one in ledger.accounts()] == [False, False]
        ledger.close()

    def test_large_letters_come_in_small_numbers(self) -> None:
        """Memory stays bounded, and nothing is left out."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        large = [DeadLetter("a", number, "Bad", "no", b"x" * 3 * 2**20) for number in range(1, 8)]
        ledger.commit([Update("a", Progress(8), letters=large)])
        found: list[int] = []
        while some := ledger.dead_letters(after=found[-1] if found else 0):
            assert len(some) < 7
            found += [letter.id for letter in some]
        assert found == [1, 2, 3, 4, 5, 6, 7]
        ledger.close()

    def test_receipts_tell_where_an_event_is(self) -> None:
        """The newest one counts; runs and scattered events are found alike."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        run = receipt("a", range(1, 1001), {"stream": "one"}, at=10, attempts=1)
        scattered = receipt("a", [1001, 1005, 1900], {"stream": "two"}, at=20, attempts=3)
        later = receipt("a", [7], {"stream": "three"}, at=30, attempts=1)
        ledger.commit([Update("a", Progress(1), receipts=[run, scattered]), Update("b", Progress(1))])
        ledger.commit([Update("a", Progress(1), receipts=[later])])
        found = {n: ledger.receipt_of("a", n) for n in (1, 7, 1000, 1001, 1002, 1005, 1900, 1901)}
        places = {
            n: one and (json.loads(one.place)["stream"], one.at, one.attempts) for n, one in found.items()
        }
        one, two = ("one", 10, 1), ("two", 20, 3)
        assert places == {
            1: one, 7: ("three", 30, 1), 1000: one, 1001: two, 1002: None, 1005: two, 1900: two, 1901: None,
        }  # fmt: skip
        assert ledger.receipt_of("b", 1) is None
        ledger.forget_receipts(before=20)
        assert (ledger.receipt_of("a", 1), ledger.receipt_of("a", 7)) == (None, later)
        ledger.close()

    def test_letters_leave_receipts_when_they_are_delivered_or_purged(self) -> None:
        """So that it can be told later what became of the event."""
        ledger = self.with_letters()
        letter = ledger.dead_letter_of("a", 2)
        assert letter is not None
        assert letter.id == 2
        assert (ledger.dead_letter_of("a", 9), ledger.dead_letter_of("b", 2)) == (None, None)
        ledger.replay(Selection(ids=[2]), Replay(), at=50)
        ledger.commit([], Replayed(delivered=[handed(2)]))
        ledger.purge(Selection(code=LOST))
        delivered, purged = ledger.receipt_of("a", 2), ledger.receipt_of("a", 5)
        assert delivered is not None
        assert purged is not None
        assert (delivered.place, delivered.at, delivered.attempts) == ('{"place":"there"}', 60, 2)
        assert json.loads(purged.place) == {"purged": True}
        assert ledger.dead_letter_of("a", 5) is None
        ledger.close()

    def test_letters_are_counted_and_dated_by_pipeline(self) -> None:
        """So that their limits can be kept."""
        ledger = self.with_letters()
        assert ledger.dead_letter_extents() == {"a": (3, 10), "b": (1, 40)}
        ledger.purge(Selection(until=20))
        assert ledger.dead_letter_extents() == {"a": (2, 20), "b": (1, 40)}
        ledger.close()

    def test_a_commit_that_seemed_to_fail_is_not_made_twice(self) -> None:
        """Its token is written with it."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        for token in (b"one", b"one", b"two"):
            ledger.commit([Update("a", Progress(2), delivered=1)], token=token)
        assert self.counts(ledger, "a")[0] == 2
        ledger.close()

    def test_what_is_delivered_again_is_accounted_for_once_more_until_it_has_ended(self) -> None:
        """A replay range has a progress of its own and goes when that has come to its end."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        ledger.commit([Update("a", Progress(51), delivered=50), Update("b", Progress(51), filtered=50)])
        for asked in ("x", "x", "y"):
            ledger.deliver_again("a", 11, 21, asked)
        account = self.balanced(ledger, "a", 51)
        assert ([replay_range.pending for replay_range in account.replay_ranges], account.accepted(51)) == (
            [10, 10],
            70,
        )
        assert ledger.finished() == 11
        replay_range = account.replay_ranges[0].id
        ledger.commit([Update("a", Progress(13, 0b100), delivered=2, filtered=1, replay_range=replay_range)])
        account = self.balanced(ledger, "a", 51)
        assert (account.replay_ranges[0].progress, account.progress) == (Progress(13, 0b100), Progress(51))
        assert (
            account.replay_ranges[0].open(14),
            account.replay_ranges[0].open(15),
            account.oldest_open(),
        ) == (
            True,
            False,
            11,
        )
        ledger.commit([Update("a", Progress(21), delivered=7, replay_range=replay_range)])
        account = self.balanced(ledger, "a", 51)
        assert ([one.id for one in account.replay_ranges], account.delivered) == ([replay_range + 1], 59)
        ledger.register(["b"], head=51, oldest=1)
        ledger.commit([Update("a", Progress(12), delivered=1, replay_range=replay_range + 1)])
        account = self.balanced(ledger, "a", 51)
        assert (account.replay_ranges, account.again, ledger.finished()) == ([], 11, 51)
        ledger.close()

    def test_what_the_fallback_has_is_owed_until_it_is_paid(self) -> None:
        """Till then it is neither finished nor are its receipts forgotten."""
        ledger = self.make()
        ledger.register(["a"], head=1, oldest=1)
        receipts = [
            receipt("a", [2, 4], {"fallback": True}, at=10, attempts=1, owed=True),
            receipt("a", [1, 3], {"fallback": True}, at=10, attempts=1, owed=True),
            receipt("a", [5], {}, at=10, attempts=1),
        ]
        ledger.commit([Update("a", Progress(6), delivered=5, receipts=receipts)])
        owed = ledger.owed("a")
        assert [list(one.sequences()) for one in owed] == [[1, 3], [2, 4]]
        assert (ledger.owed("a", 1), ledger.owed("b")) == (owed[:1], [])
        ledger.forget_receipts(before=20)
        assert (len(ledger.owed("a")), ledger.receipt_of("a", 5)) == (2, None)
        assert (self.balanced(ledger, "a", 6).owed, ledger.finished()) == (4, 1)
        paid = receipt("a", [1], {"first": True}, at=30, attempts=1)
        letter = DeadLetter("a", 3, "Bad", "no", b"{}", first_failed=30, last_failed=30)
        refused = Update("a", Progress(6), delivered=-1, letters=[letter], receipts=[paid], paid=[owed[0].id])
        ledger.commit([refused])
        account = self.balanced(ledger, "a", 6)
        assert (account.owed, account.delivered, account.dead_lettered) == (2, 4, 1)
        assert ledger.receipt_of("a", 1) == paid
        ledger.register([], head=6, oldest=1)
        ledger.register(["b"], head=6, oldest=1)
        assert ledger.finished() == 6
        ledger.close()

    def test_accounts_know_whether_letters_wait_for_them(self) -> None:
        """So that nobody has to look."""
        ledger = self.with_letters()
        ledger.replay(Selection(pipeline="a"), Replay(to="b"), at=1)
        assert [account.to_replay for account in ledger.accounts()] == [False, True]
        ledger.close()
