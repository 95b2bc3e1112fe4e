"""The comparison says of AuditFlow what tests hold: every row names one that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "comparison.md"
COLUMNS = 9


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] and not row[0].startswith("---")]


def test_every_row_is_held_by_a_test_that_exists():
    assert len(rows()) > 50
    for row in rows():
        assert len(row) == COLUMNS, row[0]
        assert all(row), row[0]
        named = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", row[-1])
        assert named, f"{row[0]} names no test"
        functions = {
            node.name
            for node in ast.walk(ast.parse((TESTS / named[1]).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert named[2] in functions, f"{row[0]} names {named[2]}, which is not in {named[1]}"


def test_no_row_stands_twice():
    names = [row[0] for row in rows()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name",
    [
        "deletion-protection",
        "data-protection-policy",
        "client-certificate",
        "headers",
        "log-format",
        "entity",
        "rate",
    ],
)
def test_what_the_table_denies_is_refused_by_name(name: str):
    """A property that does nothing would be worse than none."""
    with pytest.raises(ValidationError, match=name):
        CloudWatchProperties.model_validate({"log-group": "/acme/audit", name: "x"})
