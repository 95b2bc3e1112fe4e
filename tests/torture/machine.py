"""The system under torture: `auditflow serve`, kept running as a service manager would, and its faults."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from auditflow.testing.cloudwatch import StrictCloudWatch

from .schedule import BROKEN, Fault
from .shim import FSYNC, JUMP, Shim

PIPELINES = """\
pipelines:
  - name: plain
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /torture/plain, log-stream: events, flush-interval: 100ms}
    delivery: {max-in-flight: IN_FLIGHT}
  - name: spare
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /torture/spare, log-stream: events, flush-interval: 100ms}
      fallback:
        name: aws_cloudwatch_sink
        properties: {log-group: /torture/fallback, log-stream: events, flush-interval: 100ms}
        backfill: true
    delivery: {fallback-after: 1s, max-in-flight: IN_FLIGHT}
  - name: sampled
    condition: {rules: [{field: extra.n, operator: lt, value: 50}]}
    sample: 0.5
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /torture/sampled, log-stream: events, flush-interval: 100ms}
  - name: tenants
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /torture/tenants, log-stream: "{{ tenantId:-none }}", flush-interval: 100ms}
"""
NAMES = ("plain", "spare", "sampled", "tenants")
END_SECONDS = 45.0
"""A role whose supervisor died has this long: shutdown-timeout (25 s), a margin, and a noisy machine."""


class Machine:
    """Starts serve again whenever it ends, until told to stop; strikes it with faults."""

    def __init__(self, folder: Path, cloud: StrictCloudWatch, shim: Shim, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self.problems: list[str] = []
        self.deaths: list[float] = []
        """Unix times at which the delivery role died or was made to."""
        self.struck: Counter[str] = Counter()
        self._cloud, self._shim = cloud, shim
        self._config = config = folder / "auditflow.yaml"
        self._configure(4)
        self._command = [
            sys.executable, "-m", "auditflow", "serve", "--config", str(config), "--data-dir", str(self.data),
            "--port", str(port), "--sink-port", str(port + 1),
        ]  # fmt: skip
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        self._environment = dict(os.environ) | keys | {"AWS_ENDPOINT_URL": cloud.url} | shim.environment
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._wanted = threading.Event(), threading.Event()
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep)
        self._undo: list[tuple[float, Fault, object]] = []

    def _configure(self, in_flight: object) -> None:
        """Write the file, which serve watches: whole, as an editor or Kubernetes does."""
        draft = self._config.with_suffix(".draft")
        draft.write_text(PIPELINES.replace("IN_FLIGHT", str(in_flight)))
        draft.rename(self._config)

    def start(self) -> None:
        self._keeper.start()

    def stop(self) -> int:
        """Ask serve to end; give its exit status."""
        self._stopping.set()
        self._process.terminate()
        self._keeper.join()
        return self._process.wait(60)

    def halt(self) -> None:
        """Stop serve until `resume`."""
        self._wanted.clear()
        self._process.terminate()
        self._process.wait(60)

    def resume(self) -> None:
        self._wanted.set()

    def _keep(self) -> None:
        while self._wanted.wait() and not self._stopping.is_set():
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stderr=log, env=self._environment)
            self._process.wait()
            self._stopping.wait(0.5)

    def roles(self) -> dict[str, int]:
        """Give the process ids of the supervisor and its roles."""
        if self._process is None or self._process.poll() is not None:
            return {}
        pids = {"serve": self._process.pid}
        with suppress(OSError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
            for pid in children.split():
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                pids |= {name: int(pid) for name in ("ingest", "delivery") if name in words}
        return pids

    def run(self, faults: list[Fault], started: float) -> None:
        """Strike at the appointed times, and end what has lasted long enough."""
        waiting = list(faults)
        while waiting or self._undo:
            now = time.monotonic() - started
            for ended in [each for each in self._undo if each[0] <= now]:
                self._undo.remove(ended)
                self._end(*ended[1:])
            while waiting and waiting[0].at <= now:
                fault = waiting.pop(0)
                held = self._begin(fault)
                if held is not None:
                    self._undo.append((now + fault.seconds, fault, held))
            time.sleep(0.02)

    def _begin(self, fault: Fault) -> object:
        """Strike; give what is needed to end the fault, or None when there is nothing to end or to strike."""
        what, _, which = fault.kind.partition(" ")
        if what in ("kill", "stop"):
            return self._signal(fault, what, which)
        self.struck[fault.kind] += 1
        if what == "cloud":
            return self._cloud.fault(which, rate=fault.amount, seconds=fault.seconds)
        if what == "disk":
            return fill(self.data / "filling")
        if what == "reload":  # or a file that is broken until the fault ends
            self._configure("many" if fault.amount == BROKEN else 1 + len(self._undo))
            return self._config
        place, value = (JUMP, fault.amount) if what == "clock" else (FSYNC, fault.amount * 1000)
        self._shim.set(place, int(value))
        return place

    def _signal(self, fault: Fault, what: str, which: str) -> int | None:
        roles = self.roles()
        if which not in roles:
            return None
        self.struck[fault.kind] += 1
        with suppress(ProcessLookupError):
            os.kill(roles[which], signal.SIGKILL if what == "kill" else signal.SIGSTOP)
        if what == "stop":
            return roles[which]
        if which != "ingest":
            self.deaths.append(time.time())
        if which == "serve":
            orphans = [pid for name, pid in roles.items() if name != "serve"]
            threading.Thread(target=self._expect_end, args=(orphans,)).start()
        return None

    def _expect_end(self, orphans: list[int]) -> None:
        deadline = time.monotonic() + END_SECONDS
        while left := [pid for pid in orphans if alive(pid)]:
            if time.monotonic() > deadline:
                self.problems.append(
                    f"{len(left)} roles outlive their killed supervisor by {END_SECONDS:g} s"
                )
                return
            time.sleep(0.2)

    def _end(self, fault: Fault, held: object) -> None:
        what = fault.kind.partition(" ")[0]
        if what == "stop":
            with suppress(ProcessLookupError):
                os.kill(held, signal.SIGCONT)
        elif what == "cloud":
            held.times = 0
            self.struck[f"{fault.kind}: requests"] += held.hits
        elif what == "disk":
            held.unlink(missing_ok=True)
        elif what == "reload":
            self._configure(4)
        else:
            self._shim.set(held, 0)

    def ended_by_themselves(self) -> list[str]:
        """Give the log's lines about roles that ended."""
        return re.findall(r".*it starts again.*", self.log.read_text())

    def tracebacks(self) -> list[str]:
        """Give the faults of ours that the log shows."""
        found = re.findall(r"^Traceback.*\n(?:\s.*\n)+(.*)", self.log.read_text(), re.MULTILINE)
        return [f"the log holds {count} tracebacks of {what}" for what, count in Counter(found).items()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def fill(file: Path) -> Path:
    """Leave not a byte of the file system free."""
    with suppress(OSError), file.open("ab", buffering=0) as out:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while out.write(bytes(size)) == size:
                    pass
    return file
