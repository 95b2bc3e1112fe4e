"""The system under torture: `auditflow serve`, kept running as a service manager would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from auditflow.testing.cloudwatch import StrictCloudWatch

from .configuration import Configuration
from .shim import Shim


class Machine:
    """Starts serve again whenever it ends, until told to stop."""

    def __init__(self, folder: Path, cloud: StrictCloudWatch, shim: Shim, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self.problems: list[str] = []
        self.config = Configuration(folder)
        self._command = [
            sys.executable, "-m", "auditflow", "serve", "--config", str(self.config.file), "--data-dir", str(self.data),
            "--port", str(port), "--sink-port", str(port + 1),
        ]  # fmt: skip
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
        self._environment = dict(os.environ) | keys | {"AWS_ENDPOINT_URL": cloud.url} | shim.environment
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping, self._wanted = threading.Event(), threading.Event()
        self._wanted.set()
        self._keeper = threading.Thread(target=self._keep)

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

    def forget(self, pipeline: str) -> None:
        """Give up what an inactive pipeline has to deliver, as an administrator does."""
        command = [sys.executable, "-m", "auditflow", "forget-pipeline", pipeline, "--yes", "--url", self.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode and "no pipeline named" not in done.stdout + done.stderr:
            self.problems.append(f"forget-pipeline {pipeline}: {done.stdout}{done.stderr}")

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

    def ended_by_themselves(self) -> list[str]:
        """Give the log's lines about roles that ended."""
        return re.findall(r".*it starts again.*", self.log.read_text())

    def tracebacks(self) -> list[str]:
        """Give the faults of ours that the log shows."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [_ending(lines, at) for at, line in enumerate(lines) if line.lstrip().startswith("Traceback")]
        return [f"the log holds {count} tracebacks of {what}" for what, count in Counter(found).items()]


def _ending(lines: list[str], at: int) -> str:
    """Give what a traceback says at its end: the first line that is indented no further than its beginning."""
    deeper = " " * (len(lines[at]) - len(lines[at].lstrip()) + 1)
    return next((line.strip() for line in lines[at + 1 :] if not line.startswith(deeper)), "")
