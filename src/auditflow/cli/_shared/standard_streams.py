"""Descriptors 0 to 2 are there, whatever started the process."""
# Tested in tests/end_to_end/test_standard_streams.py.

from __future__ import annotations

import os
import sys


def ensure() -> None:
    """Open those of the three that are closed on the null device.

    Else the next files opened would get their numbers: what is written to standard error would end up in them, and
    a child would be given them as its standard input.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as the process lives, and no path
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
