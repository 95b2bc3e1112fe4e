# ruff: noqa: S101, PLR2004 - a test suite is made of assertions and literal expectations
"""The part of the ledger's contract that speaks of dead letters; `LedgerContract` takes it in."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

import json
from abc import abstractmethod

from auditflow.ledger import (
    LOST,
    DeadLetter,
    DeadLetterGroup,
    Handed,
    Ledger,
    Progress,
    Replay,
    Replayed,
    Selection,
    Update,
)


def handed(*ids: int) -> Handed:
    """Letters that have been delivered at second 60."""
    return Handed(list(ids), '{"place":"there"}', at=60, attempts=2)


class LedgerOfDeadLetters:
    """Dead letters are found, counted, replayed and purged, and stay in the account of their pipeline."""

    @abstractmethod
    def make(self) -> Ledger:
        """Make an empty ledger. It is closed by the suite."""

    def test_letters_are_chosen_by_what_they_say(self) -> None:
        """Every criterion alone, and two together."""
        ledger = self.with_letters()
        chosen = {
            "all": Selection(),
            "of b": Selection(pipeline="b"),
            "of acme": Selection(tenant="acme"),
            "bad": Selection(code="Bad"),
            "late": Selection(since=30),
            "early": Selection(until=30),
            "between": Selection(since=20, until=40),
            "two": Selection(ids=[1, 4, 99]),
            "bad ones of a": Selection(pipeline="a", code="Bad"),
            "of nobody": Selection(tenant="nobody"),
        }
        found = {name: [letter.id for letter in ledger.dead_letters(one)] for name, one in chosen.items()}
        assert found == {
            "all": [1, 2, 3, 4], "of b": [4], "of acme": [1, 4], "bad": [1, 2, 4], "late": [3, 4], "early": [1, 2],
            "between": [2, 3], "two": [1, 4], "bad ones of a": [1, 2], "of nobody": [],
        }  # fmt: skip
        ledger.close()

    def test_letters_are_counted_by_cause(self) -> None:
        """Letters and the events they hold: a run of lost events is one dead letter."""
        ledger = self.with_letters()
        assert ledger.dead_letter_groups() == [
            DeadLetterGroup("a", "Bad", letters=2, events=2, first_failed=1, last_failed=20),
            DeadLetterGroup("a", LOST, letters=1, events=5, first_failed=3, last_failed=30),
            DeadLetterGroup("b", "Bad", letters=1, events=1, first_failed=4, last_failed=40),
        ]
        assert [group.pipeline for group in ledger.dead_letter_groups(Selection(tenant="acme"))] == ["a", "b"]
        ledger.close()

    def test_dead_events_are_counted_once_however_many_pipelines_they_are_dead_in(self) -> None:
        """Those being delivered again everywhere are not dead."""
        ledger = self.with_letters()
        assert [ledger.dead_events(Selection(tenant=name)) for name in ("acme", "nobody", None)] == [1, 0, 7]
        ledger.replay(Selection("a"), Replay(), at=50)
        assert ledger.dead_events(Selection(tenant="acme")) == 1
        ledger.replay(Selection("b"), Replay(), at=50)
        assert [ledger.dead_events(Selection(tenant=name)) for name in ("acme", None)] == [0, 5]
        ledger.close()

    def test_replayed_letters_count_as_pending_until_they_are_delivered(self) -> None:
        """The account adds up at every step."""
        ledger = self.with_letters()
        assert ledger.replay(Selection("a"), Replay(rate=7.0), at=50) == 2  # the lost ones have no event
        assert self.counts(ledger, "a") == (0, 0, 5, 2)
        letters = ledger.to_replay("a")
        assert [(one.id, one.target, one.rate, one.replayed_at) for one in letters] == [
            (1, "a", 7.0, 50),
            (2, "a", 7.0, 50),
        ]
        assert [one.id for one in ledger.to_replay("a", after=1)] == [2]
        assert ledger.replay(Selection("a"), Replay(), at=51) == 0  # they are under way
        ledger.commit([], Replayed(delivered=[handed(1)], filtered=[2]))
        assert self.counts(ledger, "a") == (1, 1, 5, 0)
        assert [one.id for one in ledger.dead_letters()] == [3, 4]
        ledger.commit([], Replayed(delivered=[handed(1, 2)]))  # after a crash it may be said twice
        assert self.counts(ledger, "a") == (1, 1, 5, 0)
        ledger.close()

    def test_a_letter_that_fails_again_is_dead_again_and_keeps_its_history(self) -> None:
        """The newest failure in front, those before in order."""
        ledger = self.with_letters()
        for number, code in enumerate(("Worse", "Worst"), 1):
            ledger.replay(Selection(ids=[2]), Replay(), at=100 * number)
            again = DeadLetter("a", 0, code, "no", id=2, attempts=number, last_failed=100 * number + 1)
            ledger.commit([], Replayed(failed=[again]))
        (letter,) = ledger.dead_letters(Selection(ids=[2]))
        assert (letter.code, letter.attempts, letter.first_failed, letter.last_failed, letter.target) == (
            "Worst", 2, 2, 201, "",
        )  # fmt: skip
        assert [
            (one["code"], one["lastFailed"], one["replayedAt"]) for one in json.loads(letter.history)
        ] == [
            ("Bad", 20, 100),
            ("Worse", 101, 200),
        ]
        assert self.counts(ledger, "a") == (0, 0, 7, 0)
        ledger.close()

    def test_a_letter_may_be_delivered_by_another_pipeline_and_edited(self) -> None:
        """It stays in the account of the pipeline that it is a dead letter of."""
        ledger = self.with_letters()
        edit = Replay(to="b", event=b'{"fixed":1}', by="amara")
        assert ledger.replay(Selection(ids=[1]), edit, at=50) == 1
        (letter,) = ledger.to_replay("b")
        assert (letter.pipeline, letter.event, ledger.to_replay("a")) == ("a", b'{"fixed":1}', [])
        assert json.loads(letter.history) == [{"editedAt": 50, "editedBy": "amara", "event": "{}"}]
        ledger.commit([], Replayed(delivered=[handed(1)]))
        assert (self.counts(ledger, "a"), self.counts(ledger, "b")) == ((1, 0, 6, 0), (0, 0, 1, 0))
        ledger.close()

    def test_an_edited_letter_that_fails_again_can_be_read_and_says_what_was_published(self) -> None:
        """Its event stays bytes, whatever the edit was written as."""
        ledger = self.with_letters()
        ledger.replay(Selection(ids=[1]), Replay(event='{"é":1}'.encode(), by="amara"), at=50)
        (letter,) = ledger.to_replay("a")
        letter.code, letter.last_failed = "Bad", 60
        ledger.commit([], Replayed(failed=[letter]))
        (again,) = ledger.dead_letters(Selection(ids=[1]))
        assert (again.event, again.target) == ('{"é":1}'.encode(), "")
        edit, failure = json.loads(again.history)
        assert (edit["event"], failure["code"]) == ("{}", "Bad")
        ledger.close()

    def test_a_replay_ends_with_the_pipeline_that_was_to_deliver_it(self) -> None:
        """Its dead letters are dead again, and those of a pipeline that does not run need another one."""
        ledger = self.with_letters()
        ledger.replay(Selection(), Replay(), at=50)
        ledger.register(["b"], head=9, oldest=1)
        assert [one.id for one in ledger.dead_letters() if one.target] == [4]
        assert self.counts(ledger, "a") == (0, 0, 7, 0)
        assert ledger.replay(Selection("a"), Replay(), at=60) == 0
        assert ledger.replay(Selection("a"), Replay(to="b"), at=60) == 2
        ledger.close()

    def test_purged_letters_are_gone_and_stay_counted(self) -> None:
        """What is being delivered again is left alone."""
        ledger = self.with_letters()
        ledger.replay(Selection(ids=[1]), Replay(), at=50)
        assert ledger.purge(Selection("a")) == 6
        assert [one.id for one in ledger.dead_letters()] == [1, 4]
        assert self.counts(ledger, "a") == (0, 0, 6, 1)
        ledger.close()

    def with_letters(self) -> Ledger:
        """Make a ledger with pipelines `a` and `b` and four dead letters."""
        ledger = self.make()
        ledger.register(["a", "b"], head=1, oldest=1)
        ledger.commit(
            [
                Update(
                    "a",
                    Progress(8),
                    letters=[
                        DeadLetter("a", 1, "Bad", "no", b"{}", first_failed=1, last_failed=10, tenant="acme"),
                        DeadLetter(
                            "a", 2, "Bad", "no", b"{}", first_failed=2, last_failed=20, tenant="other"
                        ),
                        DeadLetter("a", 3, LOST, "gone", count=5, first_failed=3, last_failed=30),
                    ],
                ),
                Update(
                    "b",
                    Progress(2),
                    letters=[
                        DeadLetter("b", 1, "Bad", "no", b"{}", first_failed=4, last_failed=40, tenant="acme")
                    ],
                ),
            ]
        )
        return ledger

    @staticmethod
    def counts(ledger: Ledger, pipeline: str) -> tuple[int, int, int, int]:
        """Give how many events were delivered, filtered, dead-lettered, and are being replayed."""
        (account,) = [one for one in ledger.accounts() if one.pipeline == pipeline]
        return account.delivered, account.filtered, account.dead_lettered, account.replaying
