"""What became of one pipeline's events: every change of its progress goes through here to the recorder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec

from auditflow.event.model import owner_and_id
from auditflow.ledger import LOST, DeadLetter, Progress, Receipt, Update
from auditflow.ledger.progress import runs
from auditflow.ledger.receipts import receipt
from auditflow.pipelines.decide.decision import TRANSFORM_FAILED, Decided
from auditflow.pipelines.deliver.batch import Batch
from auditflow.pipelines.deliver.outcome_log import Delivered, Settlement
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.pipelines.record.recorder import Recorder
from auditflow.plugin_call import printable
from auditflow.sinks._base import Outcome, Verdict


class PipelineOutcomes:
    """Progress, counters, dead letters and visible condition of one pipeline."""

    def __init__(  # noqa: PLR0913 - what outcomes are recorded with
        self,
        pipeline: str,
        progress: Progress,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        *,
        aging: Callable[[], float] | None = None,
        tenant: str = "",
        replay_range: int = 0,
    ) -> None:
        self.pipeline = pipeline
        self.progress = progress
        self._recorder = recorder
        self._clock = clock
        self._aging = aging or clock
        self.tenant = tenant
        """Whose events they are; empty for everybody's."""
        self._replay_range = replay_range
        self.breaker: Callable[[], str] = lambda: "closed"
        """Tells whether the destination's breaker is `closed` or `open`."""
        self._shown: tuple[str, ...] | None = None
        self._last_error: dict[str, object] | None = None
        self._problems: dict[object, Outcome] = {}
        self._aside: Outcome | None = None
        self._held = False
        self._warning = ""
        self.on_debt: Callable[[], None] = lambda: None
        """Called when events have gone to the fallback that the first destination is to get, too."""

    def writable(self) -> bool:
        """Tell whether outcomes can be recorded. Raises what keeps them from it for good."""
        return self._recorder.writable()

    def held(self) -> bool:
        """Tell whether no more events are to be taken: its dead letters are too many."""
        return self._held

    def limits(self, full: Outcome | None, warning: str) -> None:
        """Keep whether its dead letters are too many, and what is to be said before they are."""
        self._held = full is not None
        self._warning = warning
        self.problem(self.limits, full)

    async def written(self, gate: PauseGate) -> None:
        """Wait until all that has happened so far is in the ledger. Raises Stopped."""
        await self._recorder.written(gate)

    def now(self) -> int:
        """Give Unix time in milliseconds."""
        return int(self._clock() * 1000)

    def aging_now(self) -> int:
        """Give the time by which events are given up for their age, in milliseconds."""
        return int(self._aging() * 1000)

    def lost(self, end: int, sequences: Sequence[int], reason: str) -> None:
        """Dead-letter events before `end` that the journal can no longer give: one dead letter for each unbroken run."""
        still = self.progress.unfinished(sequences)
        self.progress.come_by(end, sequences, sequences)
        letters = [self.letter(run.start, LOST, reason, count=len(run)) for run in runs(still)]
        if letters:
            self._add(Update(self.pipeline, self.progress, letters=letters, replay_range=self._replay_range))

    def decided(self, end: int, own: Sequence[int], decided: Decided) -> None:
        """Settle the events before `end` that end before the sink; `own` are all there that are the pipeline's."""
        seen = self.progress.seen
        left = list(dict.fromkeys(decided.sequences))  # one may have become several
        self.progress.come_by(end, own, left, decided.filtered)
        letters = [
            self.letter(sequence, TRANSFORM_FAILED, reason, event)
            for sequence, event, reason in decided.failed
        ]
        passed = (
            self.progress.seen > seen and not decided.sequences
        )  # else it is written along with what they come to
        if decided.filtered or letters or passed:
            self._add(
                Update(
                    self.pipeline, self.progress, filtered=len(decided.filtered), letters=letters,
                    replay_range=self._replay_range,
                )
            )  # fmt: skip

    def settled(self, settlement: Settlement) -> None:
        """Settle the events that further calls of a sink have brought to an end."""
        # all places together: the events of one alone may leave gaps, and each run costs
        ended = sorted(chain.from_iterable(each.sequences for each in settlement.delivered))
        receipts = self._receipts(
            settlement.delivered, settlement.attempts
        )  # first: nothing changes if it fails
        self.progress.finish_all(ended)
        self._add(
            Update(
                self.pipeline, self.progress, delivered=len(ended), attempts=settlement.calls,
                duplicates=settlement.duplicates, letters=settlement.letters,
                receipts=receipts, replay_range=self._replay_range,
            )
        )  # fmt: skip
        if any(each.owed for each in settlement.delivered):
            self.on_debt()

    def backfilled(
        self,
        delivered: Sequence[Delivered],
        letters: list[DeadLetter],
        paid: Sequence[Receipt],
        attempts: int,
    ) -> None:
        """Settle what was owed to the first destination; dead letters are of events it will not have."""
        refused = sum(letter.count for letter in letters)
        self._recorder.add(
            Update(
                self.pipeline, self.progress, delivered=-refused, letters=letters,
                receipts=self._receipts(delivered, attempts), paid=[receipt.id for receipt in paid],
            )
        )  # fmt: skip

    def _receipts(self, delivered: Sequence[Delivered], attempts: int) -> list[Receipt]:
        return [
            receipt(
                self.pipeline, sorted(each.sequences), each.place,
                at=self.now(), attempts=attempts, owed=each.owed,
            )
            for each in delivered
        ]  # fmt: skip

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
    ) -> DeadLetter:
        """Write a dead letter; it counts once it has been handed to `settled`, `decided` or `lost`."""
        now = self.now()
        tenant, event_id = owner_and_id(event)
        return DeadLetter(
            self.pipeline, sequence, code, printable(reason), event, count, attempts,
            first_failed=first_failed or now, last_failed=now, tenant=tenant or self.tenant, event_id=event_id,
        )  # fmt: skip

    def undeliverable(self, batch: Batch, i: int, rejection: Outcome) -> DeadLetter:
        """Write a dead letter of the batch's i-th event; it counts once it has been handed to `settled`."""
        return self.letter(
            batch.sequences[i], rejection.code, rejection.reason, batch.originals[i],
            attempts=batch.attempts, first_failed=batch.first_failed,
        )  # fmt: skip

    def problem(self, key: object, problem: Outcome | None) -> None:
        """Keep what hinders one part of the work now, or that nothing does; status shows the worst of all."""
        if problem is None:
            self._problems.pop(key, None)
        else:
            self._problems[key] = problem
        blocked = (one for one in self._problems.values() if one.verdict is Verdict.BLOCKED)
        self._show(next(blocked, next(iter(self._problems.values()), None)))

    def aside(self, problem: Outcome | None) -> None:
        """Keep what makes events go to the fallback now, or that they do not."""
        self._aside = problem
        self.problem(self, None)

    def _show(self, problem: Outcome | None) -> None:
        state = "active"
        if problem is not None:
            state = "blocked" if problem.verdict is Verdict.BLOCKED else "retrying"
        elif self._aside is not None:
            state, problem = "fallback", self._aside
        if problem is not None:
            self._last_error = {
                "code": problem.code, "message": printable(problem.reason), "hint": problem.hint, "at": self.now(),
            }  # fmt: skip
        shown = (state, problem.code if problem else "", self._warning, self.breaker())
        if shown != self._shown:
            self._shown = shown
            condition = {
                "state": state, "since": self.now(), "lastError": self._last_error, "warning": self._warning,
                "breaker": self.breaker(),
            }  # fmt: skip
            self._recorder.note(self.pipeline, msgspec.json.encode(condition).decode())

    def _add(self, update: Update) -> None:
        for letter in update.letters:
            self.progress.finish(letter.sequence, letter.count)
        self._recorder.add(update)
