"""The shape of the source: imports go one way, files and functions stay small."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import auditflow

SOURCE = Path(auditflow.__file__).parent
TESTS = Path(__file__).parent

LAYERS = (
    {"aging", "errors", "masking", "outside_text", "units"},
    {"http_client", "plugin_call"},
    {"settings"},
    {"client", "event", "storage"},
    {"telemetry"},
    {"journal", "sinks", "transformers"},
    {"ledger", "secrets"},
    {"ingest", "pipelines"},
    {"plugins"},
    {"config"},
    {"api", "console"},
    {"testing"},
    {"apps"},
    {"cli"},
    {"__main__"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

SOURCES = sorted(SOURCE.rglob("*.py"))
EVERY_FILE = SOURCES + sorted(TESTS.rglob("*.py"))


def name_of(file: Path) -> str:
    return str(file.relative_to(SOURCE.parent if SOURCE in file.parents else TESTS.parent))


def imported_parts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give line and first-level part of everything imported from auditflow, type-checking blocks left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for child in node.orelse for found in imported_parts(child))
            continue
        if isinstance(node, ast.ImportFrom):
            names = (
                [node.module or ""]
                if node.module != "auditflow"
                else [f"auditflow.{a.name}" for a in node.names]
            )
            assert node.level == 0, f"line {node.lineno}: imports name their package in full"
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = []
        for name in names:
            root, _, rest = name.partition(".")
            if root == "auditflow" and rest and rest != "__version__":
                yield node.lineno, rest.split(".")[0]
        yield from imported_parts(node)


def upward_imports(part: str, source: str) -> list[str]:
    return [
        f"line {line}: {part} imports {other}"
        for line, other in imported_parts(ast.parse(source))
        if other != part and RANK.get(other, len(LAYERS)) >= RANK[part]
    ]


def test_every_part_has_its_layer() -> None:
    assert {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in SOURCES} - {"__init__"} <= set(
        RANK
    )


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_imports_go_one_way(file: Path) -> None:
    part = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    if part == "__init__":
        assert list(imported_parts(ast.parse(file.read_text()))) == []
    else:
        assert upward_imports(part, file.read_text()) == []


def test_an_upward_import_is_found_wherever_it_hides() -> None:
    assert upward_imports("sinks", "from auditflow.config import load")
    assert upward_imports("sinks", "def f():\n    from auditflow import plugins")
    assert upward_imports("journal", "try:\n    import auditflow.sinks._base\nexcept ImportError:\n    pass")
    assert upward_imports("pipelines", "from auditflow.ingest import publish")
    assert not upward_imports("pipelines", "from auditflow.journal import Journal")
    assert not upward_imports("errors", "if TYPE_CHECKING:\n    from auditflow.config import Config")


@pytest.mark.parametrize("file", EVERY_FILE, ids=name_of)
def test_no_file_exceeds_500_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 500


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_no_function_exceeds_50_lines_without_its_docstring(file: Path) -> None:
    functions = [
        n
        for n in ast.walk(ast.parse(file.read_text()))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {
        f.name: f.end_lineno - f.lineno + 1 - (ast.get_docstring(f, clean=False) or "").count("\n")
        for f in functions
    }
    assert {name: length for name, length in lengths.items() if length > 50} == {}


def runtime_imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Give the modules of auditflow that are imported when this one is: not for types, not inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        yield from runtime_imports(node, modules)


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Drop modules that import nothing left, until none can be dropped: the rest stand in circles or above one."""
    left = dict(imports)
    while done := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in done}
    return sorted(left)


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {
        ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for file in SOURCES
    }
    imports = {
        name: {*runtime_imports(ast.parse(file.read_text()), set(names))} - {name}
        for name, file in names.items()
    }
    assert circles(imports) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"a"}, "c": set(), "d": {"c"}}) == ["a", "b"]


@pytest.mark.parametrize("folder", sorted({file.parent for file in SOURCES}), ids=name_of)
def test_a_folder_holds_about_a_dozen_files(folder: Path) -> None:
    assert len([file for file in folder.glob("*.py") if file.name != "__init__.py"]) <= 14


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_the_first_line_of_a_docstring_says_what_the_room_is_for(file: Path) -> None:
    first = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]
    assert len(first.split()) >= 2
    assert first.endswith((".", ":", "?"))


TESTED_IN = re.compile(r"^# Tested in (tests/\S+\.py)\.$", re.MULTILINE)


@pytest.mark.parametrize("file", [file for file in SOURCES if not file.stem.startswith("__")], ids=name_of)
def test_every_module_has_a_test_of_its_name_or_says_where_it_is_tested(file: Path) -> None:
    mirror = TESTS / file.relative_to(SOURCE).with_name(f"test_{file.name.lstrip('_')}")
    said = TESTED_IN.search(file.read_text())
    if mirror.exists():
        assert not said, f"{mirror} tests it"
    else:
        assert said, f"no {mirror}: write it, or say `# Tested in tests/….py.` below the docstring"
        assert (TESTS.parent / said.group(1)).exists()
