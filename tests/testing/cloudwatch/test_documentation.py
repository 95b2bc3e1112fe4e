import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditflow.testing.cloudwatch.faults import KINDS
from auditflow.testing.cloudwatch.logs import limits

PAGE = (Path(__file__).parents[3] / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_fixture_example_runs_as_printed(tmp_path):
    (tmp_path / "test_example.py").write_text(EXAMPLES[0])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "2 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("example", EXAMPLES[1:])
def test_the_other_examples_run_as_printed(example):
    names: dict[str, object] = {}
    exec(compile(example, "docs/testing.md", "exec"), names)
    assert names.keys() - {"__builtins__"}


def test_every_kind_of_fault_is_explained():
    assert {kind for kind in KINDS if f"`{kind}`" not in PAGE} == set()


def test_the_retention_values_are_counted_right():
    assert f"the {len(limits.RETENTION_DAYS)} documented values" in PAGE
