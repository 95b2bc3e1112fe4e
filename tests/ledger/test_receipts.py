"""A receipt knows exactly its own events, however they lie among others, and takes little room."""

from __future__ import annotations

import json

import pytest

from auditflow.ledger import Progress, Update
from auditflow.ledger.receipts import Receipt, receipt
from auditflow.ledger.sqlite.ledger import SqliteLedger


def made(sequences, place: dict[str, object] | None = None) -> Receipt:
    return receipt("p", sequences, place or {"stream": "s"}, at=5, attempts=2)


@pytest.mark.parametrize(
    "sequences",
    [[7], [7, 8, 9], [7, 9], range(7, 10_007), range(7, 200_007, 20), [1, 2, 500_000]],
    ids=["one", "a run", "with a hole", "a batch", "every twentieth", "far apart"],
)
def test_it_holds_its_events_and_no_other(sequences):
    one = made(sequences)
    around = {sequences[0] - 1, sequences[-1] + 1, *range(sequences[0], sequences[0] + 50)} | set(sequences)
    assert {sequence for sequence in around if one.holds(sequence)} == set(sequences)


def test_an_unbroken_run_needs_no_list():
    assert made(range(1, 10_001)).members == b""


def test_events_scattered_over_a_batch_take_less_than_a_byte_each():
    scattered = [sequence for sequence in range(1, 200_001) if hash((sequence, "x")) % 20 == 3]
    one = made(range(1, 200_001, 20))
    assert len(one.members) < 10_000
    assert len(made(scattered).members) < 5 * len(scattered)


def test_the_place_is_kept_in_the_sinks_words():
    place = {"logGroup": "/a", "logStream": "ünï", "region": "eu-west-1"}
    assert json.loads(made([1], place).place) == place


def test_receipts_survive_a_restart_and_the_newest_counts(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.register(["p"], head=1, oldest=1)
    first, second = made(range(1, 1000, 2)), receipt("p", [5], {"stream": "t"}, at=9, attempts=1)
    ledger.commit([Update("p", Progress(1), receipts=[first, second])])
    ledger.close()
    reader = SqliteLedger.reader(tmp_path / "ledger.db")
    assert [reader.receipt_of("p", n) for n in (3, 4, 5)] == [first, None, second]
    reader.close()


def test_only_receipts_from_before_are_forgotten_and_very_many_bit_by_bit(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.register(["p"], head=1, oldest=1)
    old = [receipt("p", [n], {}, at=1, attempts=1) for n in range(1, 10_002)]
    new = receipt("p", [20_000], {}, at=2, attempts=1)
    ledger.commit([Update("p", Progress(1), receipts=[*old, new])])
    ledger.forget_receipts(before=2)
    assert [ledger.receipt_of("p", n) is None for n in (1, 10_000, 10_001)] == [True, True, False]
    ledger.forget_receipts(before=2)
    assert ledger.receipt_of("p", 10_001) is None
    assert ledger.receipt_of("p", 20_000) == new
    ledger.close()
