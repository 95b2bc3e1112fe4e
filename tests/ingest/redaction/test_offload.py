"""Large events are redacted beside the event loop, in turn for each tenant, and nothing else about them differs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from auditflow.errors import RedactionFailed
from auditflow.ingest.redaction.config import RedactionConfig, compile_redaction
from auditflow.ingest.redaction.offload import MOST_AT_ONCE, Offload
from auditflow.ingest.redaction.redactor import Redactor

CONFIG = RedactionConfig.model_validate({"rules": [{"detector": "email", "action": "drop"}]})
SMALL = b'{"eventType":"t","extra":{"note":"a@b.cc"}}'
LARGE = b'{"eventType":"t","extra":{"note":"a@b.cc","more":"%b"}}' % (b"x" * MOST_AT_ONCE)


class Held:
    """Redacts only once it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redactor = compile_redaction(CONFIG)
        self.started = threading.Semaphore(0)
        self.most = 0
        self._under_way: list[None] = []
        self._go = threading.Event()
        self._finish = Redactor.finish
        monkeypatch.setattr(Redactor, "finish", self.finish)

    def finish(self, *arguments: Any) -> None:
        self._under_way.append(None)
        self.most = max(self.most, len(self._under_way))
        self.started.release()
        assert self._go.wait(20)
        self._finish(self.redactor, *arguments)
        self._under_way.pop()

    async def until_started(self) -> None:
        assert await asyncio.to_thread(self.started.acquire, timeout=20)

    @contextmanager
    def until_the_end_of_the_block(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._go.set()


async def test_the_event_loop_is_free_while_a_large_event_is_redacted(monkeypatch: pytest.MonkeyPatch):
    held = Held(monkeypatch)
    redacting = asyncio.create_task(Offload().redact(held.redactor, [LARGE], "acme"))
    with held.until_the_end_of_the_block():
        await held.until_started()
        assert not redacting.done()
    (result,) = await redacting
    assert "note" not in json.loads(result)["extra"]


async def test_a_tenant_has_one_turn_at_a_time_and_another_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
):
    held, aside = Held(monkeypatch), Offload()
    with held.until_the_end_of_the_block():
        calls = [aside.redact(held.redactor, [LARGE, LARGE], tenant) for tenant in ("acme", "acme", "globex")]
        redacting = asyncio.gather(*calls)
        await held.until_started()
        await held.until_started()
        await asyncio.sleep(0.05)
    results = await redacting
    assert held.most == 2
    assert all(b"a@b.cc" not in event for events in results for event in events)


async def test_what_is_small_does_not_leave_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asyncio, "to_thread", None)
    results = await Offload().redact(compile_redaction(CONFIG), [SMALL] * 100, "acme")
    assert set(results) == {b'{"eventType":"t","extra":{}}'}


async def test_every_event_of_a_large_page_comes_out_as_it_would_alone():
    redactor = compile_redaction(CONFIG)
    broken = LARGE.replace(b'"t"', b'"a@b.cc"')
    events = [SMALL, LARGE, b'{"eventType":"t"}', broken, *[SMALL] * 3000, LARGE]
    results = await Offload().redact(redactor, events, "acme")
    assert [str(result) for result in results] == [str(redactor.redact([event])[0]) for event in events]
    assert isinstance(results[3], RedactionFailed)


async def test_a_fault_gives_no_event_at_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Redactor, "_rewritten", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await Offload().redact(compile_redaction(CONFIG), [LARGE], "acme")


async def test_what_was_begun_and_not_finished_is_a_failure():
    started, suspects = compile_redaction(CONFIG).begin([SMALL, b"{}"])
    assert suspects == {0}
    assert isinstance(started[0], RedactionFailed)
