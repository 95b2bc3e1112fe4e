"""Signals that come before anything is ready."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from .conftest import wait_for

CONFIG = "pipelines:\n  - {name: a, sink: {name: logging_sink}}\n"


@pytest.mark.timeout(180)
def test_a_hang_up_before_it_is_ready_ends_nothing(tmp_path):
    (tmp_path / "auditflow.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "auditflow", "serve", "--port", "0", "--sink-port", "0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=log)
    said = tmp_path / "log"
    try:
        wait_for(lambda: _survives_hang_up(process), what="a hang-up to mean something else than the end")
        while "ready: publish to" not in said.read_text():
            process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
            assert process.poll() is None, said.read_text()
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()


def _status(process: subprocess.Popen[bytes]) -> str:
    with open(f"/proc/{process.pid}/status") as file:  # noqa: PTH123 - no file on a disk
        return file.read()


def _survives_hang_up(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a hang-up no longer ends the process: it is ignored or caught."""
    masks = [
        line.split()[1] for line in _status(process).splitlines() if line.startswith(("SigIgn", "SigCgt"))
    ]
    return any(int(mask, 16) & 1 for mask in masks)
