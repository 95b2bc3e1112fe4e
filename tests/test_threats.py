"""The page of threats says what tests hold: every row names one that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "threats.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "threat" and not row[0].startswith("---")]


def test_every_threat_is_held_by_a_test_that_exists():
    assert len(rows()) > 35
    for threat, done, test in rows():
        assert done, threat
        named = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", test)
        assert named, f"{threat} names no test"
        functions = {
            node.name
            for node in ast.walk(ast.parse((TESTS / named[1]).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert named[2] in functions, f"{threat} names {named[2]}, which is not in {named[1]}"


def test_no_threat_stands_twice():
    threats = [row[0] for row in rows()]
    assert len(set(threats)) == len(threats)
