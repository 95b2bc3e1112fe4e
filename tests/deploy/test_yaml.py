"""Every YAML file under deploy/ that is not a template."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_yamllint_finds_nothing_to_complain_about():
    command = [sys.executable, "-m", "yamllint", "--strict", "--config-file", ".yamllint", "."]
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
