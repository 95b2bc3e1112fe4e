"""Where the clock of a role begins by which things grow old."""
# Tested in tests/end_to_end/test_clock.py.

from __future__ import annotations

from auditflow import aging
from auditflow.journal import Journal


def start_aging(journal: Journal) -> None:
    """Begin with the time of the newest event: a clock that is far ahead at the start is waited for, too."""
    newest = journal.appended_at(journal.head() - 1)
    if newest:
        aging.now.start_at(newest / 1000)
