"""What a pipeline delivers beside the new events: dead letters, what it owes, stretches of the journal again."""
# Tested in tests/pipelines/redeliver/test_dead_letter_replay.py.

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress

from auditflow.errors import AuditFlowError, JournalDamaged
from auditflow.ledger import Account
from auditflow.pipelines.deliver.destination import pause
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.pipelines.deliver.pause_gate import Stopped
from auditflow.pipelines.read.tail import POLL_SECONDS
from auditflow.pipelines.record.outcomes import PipelineOutcomes

_log = logging.getLogger(__name__)


class Redelivery(ABC):
    """Work that is looked for when somebody wakes it, and done when it is there."""

    def __init__(self, target: DeliveryTarget, record: PipelineOutcomes) -> None:
        self._target = target
        self._record = record
        self._awake = asyncio.Event()

    @staticmethod
    @abstractmethod
    def due(account: Account) -> bool:
        """Tell whether there is work by what the ledger says."""

    def wake(self) -> None:
        """Look for work."""
        self._awake.set()

    async def run(self) -> None:
        """Do what there is whenever woken, until the target is stopped. Raises JournalDamaged."""
        failures = 0
        while not self._target.gate.stopped:
            try:
                await self._awake.wait()
                self._awake.clear()
                await self._record.written(self._target.gate)  # what is done would be found again
                await self._all()
                failures = 0
                continue
            except Stopped:
                return
            except JournalDamaged:
                raise  # to work on needs a restart of the process
            except AuditFlowError as error:
                _log.error("%s of %s waits: %s", *self._names(), error.explained())
            except Exception:  # noqa: BLE001 - one pipeline's fault must not end the others
                _log.exception("%s of %s failed and starts again", *self._names())
            self._awake.set()
            failures += 1
            with suppress(Stopped):
                await self._target.gate.wait(pause(failures, 1.0))

    def _names(self) -> tuple[str, str]:
        return type(self).__name__, self._record.pipeline

    @abstractmethod
    async def _all(self) -> None:
        """Do all there is. Raises Stopped."""

    async def _writable(self) -> None:
        """Wait until outcomes can be recorded: what cannot be must not be delivered. Raises Stopped."""
        while not self._record.writable():
            await self._target.gate.wait(POLL_SECONDS)
