"""What became of one pipeline's events: every change of its progress goes through here to the recorder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from auditflow.foreign import printable
from auditflow.journal import LOST, Letter, Progress
from auditflow.pipelines.decide import TRANSFORM_FAILED, Decided
from auditflow.pipelines.recorder import Recorder
from auditflow.sinks._base import Outcome, Verdict


class Record:
    """Progress, counters, dead letters and visible condition of one pipeline."""

    def __init__(
        self, pipeline: str, progress: Progress, recorder: Recorder, clock: Callable[[], float] = time.time
    ) -> None:
        self.pipeline = pipeline
        self.progress = progress
        self._recorder = recorder
        self._clock = clock
        self._shown: tuple[str, str] | None = None
        self._last_error: dict[str, object] | None = None

    def writable(self) -> bool:
        """Tell whether outcomes can be recorded. Raises what keeps them from it for good."""
        return self._recorder.writable()

    def now(self) -> int:
        """Give Unix time in milliseconds."""
        return int(self._clock() * 1000)

    def open_of(self, sequences: range) -> Sequence[int]:
        """Give those of the events that are not terminal yet."""
        if sequences.start >= self.progress.low and not self.progress.done >> (
            sequences.start - self.progress.low
        ):
            return sequences
        return [sequence for sequence in sequences if not self.progress.finished(sequence)]

    def lost(self, sequences: range, reason: str) -> None:
        """Dead-letter events that the journal can no longer give: one letter for each unbroken run."""
        letters = [
            self.letter(run.start, LOST, reason, count=len(run)) for run in _runs(self.open_of(sequences))
        ]
        if letters:
            self._add(letters=letters)

    def decided(self, decided: Decided) -> None:
        """Settle the events that end before the sink."""
        for sequence in decided.filtered:
            self.progress.finish(sequence)
        letters = [
            self.letter(sequence, TRANSFORM_FAILED, reason, event)
            for sequence, event, reason in decided.failed
        ]
        if decided.filtered or letters:
            self._add(filtered=len(decided.filtered), letters=letters)

    def settled(self, delivered: Iterable[int], letters: list[Letter], *, duplicates: int) -> None:
        """Settle what one call of the sink has brought to an end."""
        ended = sorted(delivered)
        for run in _runs(ended):
            self.progress.finish(run.start, len(run))
        self._add(delivered=len(ended), attempts=1, duplicates=duplicates, letters=letters)

    def letter(  # noqa: PLR0913 - what a dead letter holds
        self,
        sequence: int,
        code: str,
        reason: str,
        event: bytes = b"",
        *,
        count: int = 1,
        attempts: int = 0,
        first_failed: int = 0,
    ) -> Letter:
        """Write a dead letter; it counts once it has been handed to `settled`, `decided` or `lost`."""
        now = self.now()
        return Letter(
            self.pipeline,
            sequence,
            code,
            printable(reason),
            event,
            count,
            attempts,
            first_failed=first_failed or now,
            last_failed=now,
        )

    def show(self, trouble: Outcome | None) -> None:
        """Keep what status shows: active, retrying or blocked, since when, and the last error."""
        state = "active"
        if trouble is not None:
            state = "blocked" if trouble.verdict is Verdict.BLOCKED else "retrying"
            self._last_error = {
                "code": trouble.code, "message": printable(trouble.reason), "hint": trouble.hint, "at": self.now(),
            }  # fmt: skip
        shown = (state, trouble.code if trouble else "")
        if shown != self._shown:
            self._shown = shown
            condition = {"state": state, "since": self.now(), "lastError": self._last_error}
            self._recorder.note(self.pipeline, msgspec.json.encode(condition).decode())

    def _add(
        self,
        *,
        delivered: int = 0,
        filtered: int = 0,
        attempts: int = 0,
        duplicates: int = 0,
        letters: list[Letter],
    ) -> None:
        for letter in letters:
            self.progress.finish(letter.sequence, letter.count)
        self._recorder.add(
            self.pipeline, self.progress,
            delivered=delivered, filtered=filtered, attempts=attempts, duplicates=duplicates, letters=letters,
        )  # fmt: skip


def _runs(sequences: Sequence[int]) -> Iterable[range]:
    """Group ascending numbers into unbroken runs."""
    if not sequences:
        return
    if sequences[-1] - sequences[0] == len(sequences) - 1:
        yield range(sequences[0], sequences[-1] + 1)
        return
    start = previous = sequences[0]
    for sequence in sequences[1:]:
        if sequence != previous + 1:
            yield range(start, previous + 1)
            start = sequence
        previous = sequence
    yield range(start, previous + 1)
