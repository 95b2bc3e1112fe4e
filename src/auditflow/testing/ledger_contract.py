# ruff: noqa: S101, PLR2004 - a test suite is made of assertions and literal expectations
"""The contract suite of the ledger: every implementation inherits it and passes (J8).

Used like `auditflow.testing.journal_contract`.
"""

from __future__ import annotations

from abc import abstractmethod

from auditflow.journal import Account, Ledger, Letter, Progress, Update


class LedgerContract:
    """What every ledger does."""

    @abstractmethod
    def make(self) -> Ledger:
        """Make an empty ledger. It is closed by the suite."""

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
        letter = Letter(
            "a", 6, "InvalidParameter", "too old", b'{"x":1}', attempts=3, first_failed=5, last_failed=9
        )
        lost = Letter("a", 100, "LOST_IN_JOURNAL", "damaged", count=3)
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
        (first, second) = ledger.letters()
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
        letter = Letter("a", 1, "CODE", "reason", b"{}")
        failed = False
        try:
            ledger.commit(
                [Update("a", Progress(9), delivered=8, letters=[letter]), Update("nobody", Progress(2))]
            )
        except KeyError:
            failed = True
        assert failed
        assert (ledger.accounts(), ledger.letters()) == (before, [])
        ledger.close()

    def test_an_inactive_pipeline_goes_on_where_it_stopped(self) -> None:
        """What it missed is still pending, as long as the journal has it."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        ledger.commit([Update("a", Progress(5), delivered=4)])
        ledger.register(["b"], head=10, oldest=1)
        assert [one.active for one in ledger.accounts()] == [False, True]
        assert ledger.finished() == 1
        ledger.register(["a"], head=20, oldest=5)
        a, b = ledger.accounts()
        assert (a.active, a.base, a.progress, b.active) == (True, 1, Progress(5), False)
        assert ledger.finished() == 5
        ledger.register([], head=20, oldest=5)
        assert ledger.finished() is None
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
        ledger.note("a", '{"state":"blocked"}')
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
                [Update(name, Progress(1), letters=[Letter(name, number, "CODE", "reason", b"{}")])]
            )
        letters = ledger.letters()
        assert [letter.sequence for letter in letters] == [1, 2, 3, 4, 5, 6, 7]
        assert [letter.sequence for letter in ledger.letters(after=letters[2].id, limit=2)] == [4, 5]
        assert [letter.sequence for letter in ledger.letters("b")] == [2, 4, 6]
        assert [letter.sequence for letter in ledger.letters("a", after=letters[0].id, limit=2)] == [3, 5]
        assert ledger.letters("nobody") == []
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
