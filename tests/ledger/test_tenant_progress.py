"""A tenant's pipeline remembers what is open, and no more of the events of others than how many they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditflow.ledger import Progress
from auditflow.ledger.tenant_progress import TenantProgress, fitting

BLOCKS = st.lists(st.lists(st.sampled_from(["own", "left", "others"]), min_size=1, max_size=9), max_size=12)


def packed(progress: TenantProgress) -> TenantProgress:
    return TenantProgress.of_runs(progress.seen, progress.others, progress.packed())


def test_others_do_not_keep_the_position_back_and_own_events_do():
    progress = TenantProgress(10)
    progress.come_by(20, [13, 15, 17], [13, 15])
    assert (progress.low, progress.seen, progress.others, progress.pending(20)) == (13, 20, 7, 2)
    progress.finish(13)
    assert (progress.low, progress.finished(15), progress.finished(17), progress.finished(20)) == (
        15, False, True, False,
    )  # fmt: skip
    progress.finish_all([15])
    assert (progress.low, progress.pending(20), progress.pending(30, others=4)) == (20, 0, 6)


def test_it_goes_by_what_is_not_its_own_however_much_that_is():
    progress = TenantProgress(1)
    for _ in range(2):
        progress.come_by(10**12, [], [])
    assert (progress.low, progress.others, progress.packed()) == (10**12, 10**12 - 1, b"")


@given(BLOCKS, st.randoms(use_true_random=False))
def test_what_is_its_own_is_open_until_it_is_finished(blocks, rng):
    progress, first, still, others = TenantProgress(1), 1, set(), 0
    for block in blocks:
        end = first + len(block)
        own = [first + i for i, what in enumerate(block) if what != "others"]
        left = [first + i for i, what in enumerate(block) if what == "left"]
        progress.come_by(end, own, left)
        first, still, others = end, still | set(left), others + len(block) - len(own)
        some = sorted(rng.sample(range(1, first), rng.randint(0, min(5, first - 1))))
        if rng.random() < 0.5:
            progress.finish_all(some)
            still -= set(some)
        else:
            start, count = rng.randint(1, first), rng.randint(1, 6)
            progress.finish(start, count)
            still -= set(range(start, start + count))
        assert {n for n in range(1, first + 3) if not progress.finished(n)} == still | set(
            range(first, first + 3)
        )
        assert list(progress.unfinished(range(1, first))) == sorted(still)
        assert (progress.pending(first), progress.others, progress.seen) == (len(still), others, first)
        assert progress.low == min(still, default=first)
        assert progress.beyond() == first - progress.low - len(still)
        assert progress == progress.copy() == packed(progress)


@given(st.sets(st.integers(1, 60)), st.integers(1, 70))
def test_what_was_evicted_is_forgotten_and_counted_once(ended, oldest):
    for progress in (fitting(Progress(1), "a"), Progress(1)):
        progress.come_by(50, range(1, 50), range(1, 50))
        progress.finish_all(sorted(ended))
        whole = isinstance(progress, TenantProgress) and 50
        before = progress.pending(max(100, oldest))
        if progress.low < oldest:
            gone = progress.forget(oldest)
            assert progress.pending(max(100, oldest)) == before - gone
            assert progress.low >= oldest
            assert not whole or gone == len(set(range(1, min(oldest, 50))) - ended) + max(0, oldest - 50)


@given(st.sets(st.integers(1, 60)))
def test_one_kind_becomes_the_other_and_knows_the_same(ended):
    whole = Progress(1)
    whole.finish_all(sorted(ended))
    tenants = fitting(whole, "a")
    assert isinstance(tenants, TenantProgress)
    for progress in (tenants, fitting(tenants, ""), fitting(whole, "")):
        assert {n for n in range(1, 70) if progress.finished(n)} == ended
        assert (progress.low, progress.pending(70)) == (whole.low, whole.pending(70))
