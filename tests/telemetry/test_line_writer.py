"""A log that nobody reads holds up nothing, and says afterwards what is missing."""

import contextlib
import logging
import os

import pytest

from auditflow.telemetry import line_writer
from auditflow.telemetry.line_writer import LineHandler, LineWriter, written


@pytest.fixture
def pipe():
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    yield read, stream
    with contextlib.suppress(OSError):
        os.close(read)  # which ends a write that waits


def lines_of(read: int, until: bytes) -> list[bytes]:
    found = b""
    while until not in found:
        found += os.read(read, 2**16)
    return found.splitlines()


def test_lines_arrive_in_order(pipe):
    read, stream = pipe
    writer = LineWriter(stream)
    for number in range(1000):
        writer.write(f"line {number}\n")
    assert lines_of(read, b"line 999\n") == [f"line {number}".encode() for number in range(1000)]
    assert writer.wait(60)


def test_writing_to_a_pipe_that_nobody_reads_returns_at_once(pipe):
    _, stream = pipe
    writer = LineWriter(stream)
    for _ in range(2000):
        writer.write("x" * 1000 + "\n")  # more than a pipe holds
    assert writer.dropped == 0
    assert not writer.wait(0.05)


def test_what_is_too_much_is_dropped_and_told_when_lines_get_through_again(pipe, monkeypatch):
    read, stream = pipe
    monkeypatch.setattr(line_writer, "MOST_BYTES", 200_000)
    handler = LineHandler(stream)
    for _ in range(500):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, "x" * 1000, None, None))
    dropped = handler.writer.dropped
    assert dropped > 200
    told = [line for line in lines_of(read, b"for too long\n") if b"missing" in line]
    assert told == [f"{dropped} log lines are missing: standard error was not read for too long".encode()]
    assert handler.writer.dropped == dropped


def test_a_stream_that_is_gone_costs_its_lines_and_nothing_else(pipe):
    read, stream = pipe
    os.close(read)
    writer = LineWriter(stream)
    writer.write("x\n")
    assert writer.wait(60)


async def test_what_is_logged_can_be_waited_for(pipe):
    _, stream = pipe
    handler = LineHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        assert await written(0)
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, "x" * 2**20, None, None))
        assert not await written(0.05)
    finally:
        logging.getLogger().removeHandler(handler)
