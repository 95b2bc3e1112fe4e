import json
import logging
import os
import threading

import pytest
from pydantic import ValidationError

from auditflow.sinks._base import Verdict
from auditflow.sinks.logging_sink import LOGGER, LoggingProperties, LoggingSink, as_text
from auditflow.telemetry.line_writer import LineHandler
from auditflow.testing.contracts.sink import SinkContract


@pytest.fixture(autouse=True)
def own_level(caplog):
    logger = logging.getLogger(LOGGER)
    yield
    logger.setLevel(logging.NOTSET)


class TestContract(SinkContract):
    sink = LoggingSink

    @pytest.fixture
    def properties(self, caplog):
        return {}

    @pytest.fixture
    def arrived(self, caplog):
        return lambda: [json.loads(record.getMessage()) for record in caplog.records]


async def logged(caplog, events, **given):
    sink = LoggingSink(LoggingProperties.model_validate({n.replace("_", "-"): v for n, v in given.items()}))
    await sink.open()
    outcomes = await sink.deliver(events)
    await sink.close()
    return outcomes, caplog.records


async def test_each_event_is_one_line_as_it_is(caplog):
    events = [b'{"a":"\xc3\xbc %s"}', b'{"b":2}']
    _, records = await logged(caplog, events)
    assert [(r.name, r.levelname, r.getMessage().encode()) for r in records] == [
        (LOGGER, "INFO", e) for e in events
    ]


@pytest.mark.parametrize("level", ["debug", "WARNING"])
async def test_the_level_marks_the_lines_and_hides_none(caplog, level):
    logging.getLogger(LOGGER).setLevel(logging.ERROR)
    _, records = await logged(caplog, [b"{}"], log_level=level)
    assert [record.levelname for record in records] == [level.upper()]


async def test_text_is_names_and_values_on_one_line(caplog):
    event = {
        "eventType": "auth.login",
        "who": "Ada L",
        "n": 1,
        "extra": {"a": [1]},
        "line": "a\nb",
        "empty": "",
    }
    _, (record,) = await logged(caplog, [json.dumps(event).encode()], format="text")
    expected = 'eventType=auth.login who="Ada L" n=1 extra={"a":[1]} line="a\\nb" empty=""'
    assert record.getMessage() == expected == as_text(json.dumps(event).encode())


async def test_text_has_numbers_that_no_float_holds_as_they_came(caplog):
    _, records = await logged(caplog, [b'{"n":1e400,"m":[-1e999]}'], format="text")
    assert [record.getMessage() for record in records] == ["n=1e400 m=[-1e999]"]


@pytest.mark.parametrize("event", [b"[1]", b"{", b"\xff"])
async def test_text_needs_a_json_object(caplog, event):
    outcomes, _ = await logged(caplog, [event, b"{}"], format="text")
    assert [outcome.verdict for outcome in outcomes] == [Verdict.REJECTED, Verdict.DELIVERED]


@pytest.mark.parametrize("wrong", [{"log-level": "LOUD"}, {"format": "xml"}])
def test_a_wrong_property_is_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LoggingProperties.model_validate(wrong)


async def test_events_wait_where_nobody_reads_the_log(monkeypatch):
    monkeypatch.setattr("auditflow.sinks.logging_sink.STALLED_SECONDS", 0.05)
    read, write = os.pipe()
    handler = LineHandler(os.fdopen(write, "w"))
    logging.getLogger().addHandler(handler)
    sink = LoggingSink(LoggingProperties())
    await sink.open()
    large = json.dumps({"pad": "x" * 2**20}).encode()
    try:
        first = await sink.deliver([large, b"{}"])
        second = await sink.deliver([b"{}"])
        assert [(o.verdict, o.code, o.ambiguous) for o in first] == [(Verdict.RETRY, "LOG_STALLED", True)] * 2
        assert [(o.verdict, o.ambiguous) for o in second] == [(Verdict.RETRY, False)]
        reading = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 2**16), b"")])
        reading.daemon = True
        reading.start()
        assert handler.writer.wait(60)
        assert [o.verdict for o in await sink.deliver([b"{}"])] == [Verdict.DELIVERED]
    finally:
        logging.getLogger().removeHandler(handler)
