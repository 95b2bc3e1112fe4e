import os
import signal
import subprocess
import sys

import pytest

from auditflow.apps.lifecycle import SUPERVISED

LIVE = """
import asyncio
from auditflow.apps.lifecycle import stop_requested

async def main():
    stopping = stop_requested()
    print("started", flush=True)
    await asyncio.wait_for(stopping.wait(), 0.3 if {brief} else 20)
    print("stopping", flush=True)

try:
    asyncio.run(main())
except TimeoutError:
    print("still here")
"""


def start(*, supervised: bool, brief: bool = False) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE.format(brief=brief)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | ({SUPERVISED: "1"} if supervised else {}),
    )
    assert process.stdout.readline() == b"started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop(number):
    process = start(supervised=True)
    process.send_signal(number)
    assert process.communicate(timeout=120)[0] == b"stopping\n"
    assert process.returncode == 0


def test_a_role_stops_when_its_supervisor_is_gone():
    process = start(supervised=True)
    assert process.communicate(timeout=120)[0] == b"stopping\n"


def test_a_process_of_its_own_does_not_mind_a_closed_standard_input():
    process = start(supervised=False, brief=True)
    assert process.communicate(timeout=120)[0] == b"still here\n"
