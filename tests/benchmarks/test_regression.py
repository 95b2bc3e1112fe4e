"""Guards the CPU per event by a short form of `make bench`: as a ratio, with room for noise."""

import pytest
import throughput
from report import Report

LIMIT = 4.0
"""Times `json.loads`: 2.3 is measured, and what is left is for what else a machine does meanwhile."""
SCALE = 0.15


@pytest.mark.alone
@pytest.mark.slow
def test_an_event_published_in_batches_costs_no_more_cpu_than_it_did(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(throughput.fluent_bit, "COMMAND", "")
    report = Report()
    throughput.batches(report, SCALE)
    assert min(run.ratio for run in report.runs) <= LIMIT
