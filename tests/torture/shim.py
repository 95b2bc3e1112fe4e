"""The preloaded library: built once a run, steered through a shared file."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

_MEMBER = struct.Struct("q")
JUMP, FSYNC, FAILED, JUMPED, READ, UNREAD = range(6)
"""Places in the control file; see `struct control` in shim.c."""


class Shim:
    """fsync errors, read errors and clock jumps for the processes started with `environment`."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        self.usable = compiler is not None
        self.environment: dict[str, str] = {}
        control = folder / "shim.control"
        control.write_bytes(bytes(mmap.PAGESIZE))
        with control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        if compiler is not None:
            library = folder / "shim.so"
            source = Path(__file__).with_name("shim.c")
            command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(source), "-ldl"]
            subprocess.run(command, check=True)
            self.environment = {"LD_PRELOAD": str(library), "TORTURE_CONTROL": str(control)}

    def set(self, place: int, value: int) -> None:
        _MEMBER.pack_into(self._memory, place * _MEMBER.size, value)

    def get(self, place: int) -> int:
        (value,) = _MEMBER.unpack_from(self._memory, place * _MEMBER.size)
        return value
