"""A configuration loads or has problems with a place; it never breaks the loader."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from random import Random

from auditflow.config import load
from auditflow.errors import ConfigError, Problem
from auditflow.plugins import Catalogue, discover

from . import grammar

ROOT = Path(__file__).parents[2]
PIECES = (b"*a ", b"&a ", b"<<: ", b"!!python/object:os.system ", b"- ", b": ", b"? ", b"| ", b"'", b'"', b"#", b"\t", b"${X}",
          b"${", b"{}", b"[]", b"null", b"~", b"1e999", b"0x1F", b"2026-01-31", b"\xef\xbb\xbf", b"---\n", b"%YAML 1.2\n", b"\x00")  # fmt: skip


@functools.cache
def _texts() -> list[bytes]:
    files = [*ROOT.glob("examples/*.yaml"), *ROOT.glob("tests/data/guide/*.yaml")]
    pages = [*ROOT.glob("docs/**/*.md")]
    blocks = [
        re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE) for page in pages
    ]
    return [file.read_bytes() for file in files] + [block.encode() for found in blocks for block in found]


@functools.cache
def _catalogue() -> Catalogue:
    return discover()


def check(dice: Random) -> None:
    text = dice.choice(_texts())
    if dice.random() < 0.2:
        text = grammar.written(dice, grammar.members(dice)).encode()
    for _ in range(dice.randrange(1, 4)):
        text = grammar.mutated(dice, text)
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice((b"", *PIECES)) + text[at:]
    file = Path("auditflow.yaml")
    for problem in _problems(file, text):
        assert (problem.line, problem.column) >= (1, 1)
        assert problem.message


def _problems(file: Path, text: bytes) -> list[Problem]:
    try:
        load(file, {"ACCOUNT_ID": "1"}, _catalogue(), {file: text})
    except ConfigError as error:
        return error.problems or [Problem(str(file), 0, 0, "", "refused without a problem")]
    return []
