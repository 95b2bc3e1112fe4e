"""Guards the CPU per event by a short form of `make bench`: as a ratio, with room for noise."""

import pytest
import throughput
from report import Report

LIMIT = 6.0
"""Times `json.loads`: 4.3 is measured on a quiet machine, and 40 % of it are left for what else a machine does."""
SCALE = 0.15


@pytest.mark.slow
def test_an_event_published_in_batches_costs_no_more_cpu_than_it_did(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(throughput.fluent_bit, "COMMAND", "")
    report = Report()
    throughput.batches(report, SCALE)
    assert min(run.ratio for run in report.runs) <= LIMIT
