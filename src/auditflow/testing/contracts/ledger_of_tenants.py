# ruff: noqa: S101 - a test suite is made of assertions and literal expectations
"""The part of the ledger's contract that speaks of tenants; `LedgerContract` takes it in."""
# Tested in tests/ledger/sqlite/test_ledger.py.

from __future__ import annotations

from abc import abstractmethod

from auditflow.ledger import LOST, Account, DeadLetter, Ledger, Update
from auditflow.ledger.tenant_progress import TenantProgress


class LedgerOfTenants:
    """A pipeline of one tenant accounts for that tenant's events and for no others."""

    @abstractmethod
    def make(self) -> Ledger:
        """Make an empty ledger. It is closed by the suite."""

    def test_events_of_other_tenants_are_not_accounted_for(self) -> None:
        """They count as terminal for the position and as nothing else."""
        ledger = self.make()
        ledger.register(["all", "a/p"], head=11, oldest=1, owners={"a/p": "a"})
        theirs, everybodys = ledger.accounts()
        assert (theirs.tenant, theirs.base, everybodys.tenant) == ("a", 1, "")
        progress = TenantProgress(1)
        progress.come_by(11, [2, 5, 6], [2, 5, 6])
        progress.finish(5)
        ledger.commit([Update("a/p", progress, delivered=1)])
        theirs, _ = ledger.accounts()
        assert (theirs.progress, theirs.progress.seen, theirs.progress.others) == (progress, 11, 7)
        assert (theirs.accepted(11), theirs.pending(11)) == (3, 2)
        assert (theirs.accepted(21, others=6), theirs.pending(21, others=6)) == (7, 6)
        ledger.close()

    def test_each_tenant_is_finished_as_far_as_its_slowest_pipeline(self) -> None:
        """What is to be delivered again counts, too."""
        ledger = self.make()
        ledger.register(
            ["all", "a/p", "a/q", "b/p"], head=11, oldest=1, owners={"a/p": "a", "a/q": "a", "b/p": "b"}
        )
        for name, end in (("a/p", 11), ("a/q", 5), ("b/p", 11)):
            progress = TenantProgress(1)
            progress.come_by(end, [], [])
            ledger.commit([Update(name, progress)])
        assert ledger.finished_by_tenant() == {"": 1, "a": 5, "b": 11}
        ledger.deliver_again("b/p", 3, 9, "x", others=0)
        assert ledger.finished_by_tenant() == {"": 1, "a": 5, "b": 3}
        ledger.close()

    def test_a_pipeline_may_get_everybodys_events_after_it_got_one_tenants(self) -> None:
        """What it has come by stays as it was."""
        ledger = self.make()
        ledger.register(["p"], head=1, oldest=1, owners={"p": "a"})
        progress = TenantProgress(1)
        progress.come_by(11, [2], [2])
        progress.finish(2)
        ledger.commit([Update("p", progress, delivered=1)])
        ledger.register(["p"], head=11, oldest=1)
        (account,) = ledger.accounts()
        assert (account.tenant, account.accepted(21), account.pending(21)) == ("", 11, 10)
        ledger.close()

    def test_a_lane_knows_how_many_of_its_events_are_other_tenants(self) -> None:
        """What nobody can tell the tenant of any more, when it is read, counts as everybody's."""
        ledger = self.make()
        ledger.register(["p"], head=1, oldest=1, owners={"p": "a"})
        progress = TenantProgress(1)
        progress.come_by(11, [], [])
        ledger.commit([Update("p", progress)])
        for asked in ("whole", "lost"):
            ledger.deliver_again("p", 1, 11, asked, others=8)
        account = self.balanced(ledger, "p", 11)
        assert ([replay_range.pending for replay_range in account.replay_ranges], account.accepted(11)) == (
            [2, 2],
            4,
        )
        whole = TenantProgress(1)
        whole.come_by(11, [3, 4], [3, 4])
        whole.finish(3)
        ledger.commit([Update("p", whole, delivered=1, replay_range=account.replay_ranges[0].id)])
        assert [replay_range.pending for replay_range in self.balanced(ledger, "p", 11).replay_ranges] == [
            1,
            2,
        ]
        whole.finish(4)
        ledger.commit([Update("p", whole, delivered=1, replay_range=account.replay_ranges[0].id)])
        lost = TenantProgress(1)
        lost.come_by(11, range(1, 11), [])
        lost.finish(1, 10)
        letter = DeadLetter("p", 1, LOST, "gone", count=10)
        ledger.commit([Update("p", lost, letters=[letter], replay_range=account.replay_ranges[1].id)])
        account = self.balanced(ledger, "p", 11)
        assert (account.replay_ranges, account.accepted(11), account.pending(11)) == ([], 12, 0)
        ledger.close()

    @staticmethod
    def balanced(ledger: Ledger, pipeline: str, head: int) -> Account:
        """Give the account of a pipeline, whose counts add up."""
        (account,) = [one for one in ledger.accounts() if one.pipeline == pipeline]
        ended = account.delivered + account.filtered + account.dead_lettered
        assert account.accepted(head) == ended + account.pending(head)
        return account
