from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditflow.config.document import Document, read

Reads = Callable[..., Document]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    def reads(text: str | bytes, **environ: str) -> Document:
        file = tmp_path / "a.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(file, environ)

    return reads


def only_problem(document: Document) -> tuple[int, int, str]:
    [problem] = document.problems
    return problem.line, problem.column, f"{problem.message} | {problem.hint}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("TRUE", True),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("y", "y"),
        ("'true'", "true"), ('"5"', "5"),
        ("", None), ("~", None), ("null", None), ("'null'", "null"),
        ("5", 5), ("-3", -3), ("0.5", 0.5), ("1.0", 1.0),
        ("012345678901", "012345678901"), ("1.10", "1.10"), ("1e3", "1e3"), ("0x1F", "0x1F"), ("1_000", "1_000"),
        ("+5", "+5"), ("9" * 5000, "9" * 5000), (".inf", ".inf"), (".nan", ".nan"), ("12:30:45", "12:30:45"),
        ("2025-12-17", "2025-12-17"), ("!!str 5", "5"),
        ("{{ not: a template }}x".replace("{{", "'{{").replace("}}x", "}}'"), "{{ not: a template }}"),
    ],
)  # fmt: skip
def test_scalars_have_the_core_types_of_yaml_1_2_and_keep_what_was_written(
    reads: Reads, text: str, value: Any
) -> None:
    document = reads(f"a: {text}\n")
    assert document.problems == []
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_keys_are_text_as_written(reads: Reads) -> None:
    assert reads("on: 1\n5: 2\ntrue: 3\n").data == {"on": 1, "5": 2, "true": 3}


def test_positions_count_from_1_and_name_keys_and_values(reads: Reads) -> None:
    document = reads("pipelines:\n  - name: x\n    sink:\n      name: y\n")
    assert document.keys["pipelines", 0, "sink", "name"] == (4, 7)
    assert document.values["pipelines", 0, "sink", "name"] == (4, 13)
    assert document.keys["pipelines", 0] == (2, 5)
    missing = document.problem(("pipelines", 0, "sink", "properties", "log-group"), "m")
    assert (missing.line, missing.column, missing.path) == (3, 5, "pipelines[0].sink.properties.log-group")


@pytest.mark.parametrize(
    ("content", "line", "column", "words"),
    [
        ("", 1, 1, "empty"),
        ("# nothing\n\n", 1, 1, "empty"),
        ("a: 1\n\tb: 2\n", 2, 1, "spaces"),
        ("a: [1,\n", 2, 1, "not valid YAML"),
        ("a: b: c\n", 1, 5, "quotes"),
        ("a: *nobody\n", 1, 4, "undefined alias"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("a: @x\n", 1, 4, "quotes"),
        (b"a: 1\nb: caf\xe9\n", 2, 7, "UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, 1, "UTF-8"),
        ("é: 1\nb: é\x00\n", 2, 5, "U+0000"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "first in line 1"),
        ("a: {b: 1, b: 2}\n", 1, 11, "first in line 1"),
        ("? [x]\n: 1\n", 1, 3, "key"),
        ("a: !custom x\n", 1, 4, "a tag"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, 4, "a tag"),
        ("a:\n  <<: 5\n", 2, 7, "mapping"),
        ("&a [*a]\n", 1, 1, "alias"),
        ("a: &a {<<: *a}\n", 1, 1, "alias"),
        ("[" * 100_000, 1, 1, "levels deep"),
        ("- " * 100_000, 1, 1, "levels deep"),
    ],
)
def test_what_is_not_a_sound_document_is_a_problem_with_a_position(
    reads: Reads, content: str | bytes, line: int, column: int, words: str
) -> None:
    found = only_problem(reads(content))
    assert found[:2] == (line, column)
    assert words in found[2]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert "no such file" in only_problem(read(tmp_path / "absent.yaml", {}))[2]
    assert "irectory" in only_problem(read(tmp_path, {}))[2]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(reads: Reads) -> None:
    assert reads("\ufeffa: 1\r\nb: x\r\n").data == {"a": 1, "b": "x"}


def test_anchors_and_merge_keys_work_and_own_keys_win(reads: Reads) -> None:
    document = reads(
        "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\none: {<<: *b, x: 0}\ntwo: {<<: [*b, *m]}\nthree: *b\n"
    )
    assert document.problems == []
    assert document.data["one"] == {"x": 0, "y": 1}
    assert document.data["two"] == {"x": 1, "y": 1, "z": 2}
    assert document.data["three"] == {"x": 1, "y": 1}


@pytest.mark.parametrize("step", ["[{}]", "{{<<: [{}]}}"])
def test_a_billion_laughs_end_in_a_problem_and_not_in_memory(reads: Reads, step: str) -> None:
    lines = [
        f"a{level}: &a{level} " + step.format(", ".join([f"*a{level - 1}"] * 10)) for level in range(1, 12)
    ]
    assert "aliases" in only_problem(reads("\n".join(["a0: &a0 {k: lol}", *lines])))[2]


def test_text_that_passes_for_a_tag_is_not_repeated(reads: Reads) -> None:
    [problem] = reads("secret: !hunter2 x\n").problems
    assert (problem.path, "in quotes" in problem.hint) == ("secret", True)
    assert "hunter2" not in str(problem)


def test_variables_are_filled_in_and_remembered(reads: Reads) -> None:
    document = reads("a: x-${A}\nb: [\"${A}\"]\nc: '$${A}'\nd: ${A:-z}\n", A="secret")
    assert document.data == {"a": "x-secret", "b": ["secret"], "c": "${A}", "d": "secret"}
    assert document.filled == {("a",): {"A": "secret"}, ("b", 0): {"A": "secret"}, ("d",): {"A": "secret"}}


def test_a_filled_in_value_is_text_whatever_it_looks_like(reads: Reads) -> None:
    assert reads("a: ${A}\n", A="5").data == {"a": "5"}


def test_an_unset_variable_is_a_problem_at_its_value(reads: Reads) -> None:
    document = reads("a:\n  - b: ok\n    c: x${NOPE}\n")
    [problem] = document.problems
    assert (problem.line, problem.column, problem.path) == (3, 8, "a[0].c")
    assert document.unfilled == {("a", 0, "c")}


def test_what_merge_keys_bring_in_is_bounded():
    keys = "".join(f"  k{number}: 1\n" for number in range(4000))
    text = f"base: &base\n{keys}all:\n  <<: [{', '.join(['*base'] * 4000)}]\n"
    (problem,) = read(Path("x.yaml"), {}, text.encode()).problems
    assert "repeat more than" in problem.message


def test_a_file_that_is_too_large_is_refused(tmp_path):
    file = tmp_path / "x.yaml"
    with file.open("wb") as out:
        out.truncate(2**34)
    (problem,) = read(file, {}).problems
    assert problem.message == "the file is larger than 16MiB"
