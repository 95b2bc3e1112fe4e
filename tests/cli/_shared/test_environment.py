"""A line end that `echo` has left in a variable is nobody's intention."""

from __future__ import annotations

from auditflow.cli._shared.environment import tidy


def test_line_ends_at_the_end_of_a_variable_go_and_everything_else_stays():
    environ = {"A": "x\n", "B": "x\r\n\n", "C": " a\nb ", "D": "", "E": "\n", "F": "\udcff\n"}
    tidy(environ)
    assert environ == {"A": "x", "B": "x", "C": " a\nb ", "D": "", "E": "", "F": "\udcff"}
