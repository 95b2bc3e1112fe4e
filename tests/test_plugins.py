import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import ValidationError

from auditflow import __version__
from auditflow.errors import PluginBroken, PluginDirectoryMissing, PluginNotFound
from auditflow.plugins import BUILT_IN, discover
from auditflow.sinks._base import Verdict

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, source: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(source))
        return file

    return write


PROCESS = '''
"""Sends things away.

More of it.
"""
__version__ = "1.2"
PROPERTIES = {"webhook-url": "Where to send."}

def process(event_data, properties):
    return {"to": properties["webhook-url"], "type": event_data["eventType"]}
'''


def test_the_folder_is_the_catalogue_of_built_in_plugins() -> None:
    import auditflow.sinks

    modules = {module.name for module in pkgutil.iter_modules(auditflow.sinks.__path__)}
    catalogue = discover()
    assert set(catalogue.sinks) == {module for module in modules if not module.startswith("_")}
    assert catalogue.transformers["zero"].identity
    assert catalogue.broken == []
    assert {entry.origin for entry in catalogue.sinks.values()} == {BUILT_IN}


def test_every_built_in_plugin_loads_and_describes_itself() -> None:
    catalogue = discover()
    catalogue.check_all()
    assert catalogue.broken == []
    for entry in [*catalogue.sinks.values(), *catalogue.transformers.values()]:
        assert entry.version == __version__
        assert entry.description
    for sink in catalogue.sinks.values():
        assert all(info.description for info in sink.properties())


def test_built_in_modules_are_not_imported_before_they_are_used() -> None:
    script = """
        import sys
        from auditflow.plugins import discover
        catalogue = discover()
        name = "auditflow.sinks.logging_sink"
        print(name in sys.modules)
        catalogue.get_sink("logging_sink").check()
        print(name in sys.modules, "boto3" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"]


async def test_a_drop_in_sink_works_unmodified(write: Write, tmp_path: Path) -> None:
    file = write("sinks/my_sink.py", PROCESS)
    entry = discover(tmp_path).get_sink("my_sink")

    assert (entry.version, entry.description, entry.origin) == ("1.2", "Sends things away.", str(file))
    assert entry.properties_model() is None
    assert [(info.name, info.description) for info in entry.properties()] == [
        ("webhook-url", "Where to send.")
    ]
    sink = entry.create(entry.parse({"webhook-url": "http://x"}))
    [outcome] = await sink.deliver([b'{"eventType":"a"}'])
    assert (outcome.verdict, outcome.where) == (Verdict.DELIVERED, {"to": "http://x", "type": "a"})
    assert sink.destination == "my_sink"


def test_properties_of_a_drop_in_sink_must_be_text(write: Write, tmp_path: Path) -> None:
    write("sinks/my_sink.py", PROCESS)
    with pytest.raises(ValidationError, match="expected text"):
        discover(tmp_path).get_sink("my_sink").parse({"headers": {"a": "b"}})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def transform(input_data): return {**input_data, 'seen': 1}", {"a": 1, "seen": 1}),
        ("def transform(event, properties): return {**event, **properties}", {"a": 1, "p": 2}),
        ("def transform(event, properties=None): return properties", {"p": 2}),
        ("def transform(input_data, strict=False): return {'strict': strict}", {"strict": False}),
        ("def transform(*args): return {'args': len(args)}", {"args": 1}),
        (
            "class T:\n    def transform(self, input_data): return input_data\ntransform = T().transform",
            {"a": 1},
        ),
        ("def transform(input_data): return None", None),
    ],
)
def test_a_drop_in_transformer_takes_the_event_with_or_without_properties(
    write: Write, tmp_path: Path, source: str, expected: object
) -> None:
    write("transformers/mine.py", source)
    assert discover(tmp_path).get_transformer("mine").function()({"a": 1}, {"p": 2}) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "no function process"),
        ("process = 3", "no function process"),
        ("def process(event_data): ...", "two arguments"),
        ("async def process(event_data, properties): ...", "not async"),
    ],
)
def test_a_broken_module_is_listed_with_why_and_stops_no_other(
    write: Write, tmp_path: Path, source: str, reason: str
) -> None:
    write("sinks/good_sink.py", PROCESS)
    file = write("sinks/broken_sink.py", source)
    catalogue = discover(tmp_path)

    assert "good_sink" in catalogue.sinks
    [broken] = catalogue.broken
    assert (broken.kind, broken.name, broken.origin) == ("sink", "broken_sink", str(file))
    assert reason in broken.reason
    with pytest.raises(PluginBroken, match="broken_sink"):
        catalogue.get_sink("broken_sink")


def test_a_syntax_error_is_reported_with_file_and_line(write: Write, tmp_path: Path) -> None:
    file = write("transformers/typo.py", "x = 1\ndef transform(input_data)\n    return 1\n")
    [broken] = discover(tmp_path).broken
    assert broken.reason.startswith(f"{file}:2: SyntaxError: ")


@pytest.mark.parametrize(
    "source", ["def other(): ...", "def transform(): ...", "def transform(a, b, c): ...", "transform = dict"]
)
def test_a_transformer_that_cannot_be_called_is_broken(write: Write, tmp_path: Path, source: str) -> None:
    write("transformers/mine.py", source)
    assert [broken.name for broken in discover(tmp_path).broken] == ["mine"]


def test_a_name_that_could_not_be_looked_up_is_broken(write: Write, tmp_path: Path) -> None:
    write("sinks/my-sink.py", PROCESS)
    [broken] = discover(tmp_path).broken
    assert "letters, digits and underscores" in broken.reason


def test_a_module_beside_the_two_folders_is_pointed_out(write: Write, tmp_path: Path) -> None:
    write("my_sink.py", PROCESS)
    [broken] = discover(tmp_path).broken
    assert "sinks/" in broken.reason


def test_modules_with_an_underscore_are_shared_parts_that_others_may_import(
    write: Write, tmp_path: Path
) -> None:
    write("sinks/_shared_for_test.py", "PLACE = 'shared'")
    write(
        "sinks/my_sink.py",
        "import _shared_for_test\ndef process(e, p): return {'place': _shared_for_test.PLACE}",
    )
    catalogue = discover(tmp_path)
    assert "my_sink" in catalogue.sinks
    assert "_shared_for_test" not in catalogue.sinks
    assert catalogue.broken == []


def test_a_sink_class_that_a_plain_module_imports_is_not_its_own(write: Write, tmp_path: Path) -> None:
    write(
        "sinks/my_sink.py", "from auditflow.sinks.logging_sink import LoggingSink\ndef process(e, p): ...\n"
    )
    assert discover(tmp_path).get_sink("my_sink").properties_model() is None


def test_a_built_in_module_that_cannot_be_imported_is_found_when_all_are_checked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import auditflow.sinks

    write("more/half_installed_sink.py", "import not_there_at_all")
    monkeypatch.setattr(auditflow.sinks, "__path__", [*auditflow.sinks.__path__, str(tmp_path / "more")])
    catalogue = discover()
    with pytest.raises(PluginBroken):
        catalogue.get_sink("half_installed_sink").check()
    catalogue.check_all()
    assert "half_installed_sink" not in catalogue.sinks
    assert [broken.name for broken in catalogue.broken] == ["half_installed_sink"]


def test_an_edited_module_is_read_again(write: Write, tmp_path: Path) -> None:
    write("transformers/mine.py", "def transform(input_data): return {'version': 'one'}")
    assert discover(tmp_path).get_transformer("mine").function()({}, {}) == {"version": "one"}
    write("transformers/mine.py", "def transform(input_data): return {'version': 'second'}")
    assert discover(tmp_path).get_transformer("mine").function()({}, {}) == {"version": "second"}


def install(write: Write, name: str, entry_points: str, source: str) -> None:
    write(f"site/{name}.py", source)
    write(f"site/{name}-3.1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.1\n")
    write(f"site/{name}-3.1.dist-info/entry_points.txt", entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


TYPED = '''
from auditflow.sinks._base import DELIVERED, Properties, Sink

class Properties(Properties):
    room: int
    """How much."""

class Typed(Sink[Properties]):
    """Delivers with types."""
    async def deliver(self, events):
        return [DELIVERED] * len(events)
'''


@pytest.mark.parametrize("target", ["af_typed", "af_typed:Typed"])
def test_an_installed_package_brings_a_typed_sink(site: Path, write: Write, target: str) -> None:
    install(write, "af_typed", f"[auditflow.sinks]\ntyped_sink = {target}\n", TYPED)
    entry = discover().get_sink("typed_sink")
    assert (entry.origin, entry.version) == ("package af_typed", "3.1")
    assert [info.name for info in entry.properties()] == ["room"]
    assert type(entry.create(entry.parse({"room": "5"}))).__name__ == "Typed"
    with pytest.raises(ValidationError):
        entry.parse({"rom": 5})


@pytest.mark.parametrize("target", ["af_plain", "af_plain:process", "af_plain:send"])
def test_an_installed_package_brings_a_plain_function(site: Path, write: Write, target: str) -> None:
    install(write, "af_plain", f"[auditflow.sinks]\nplain_sink = {target}\n", PROCESS + "\nsend = process\n")
    assert discover().get_sink("plain_sink").properties_model() is None


def test_a_broken_package_is_listed_too(site: Path, write: Write) -> None:
    install(write, "af_bad", "[auditflow.transformers]\nbad = af_not_there\n", "")
    [broken] = discover().broken
    assert (broken.kind, broken.name, broken.origin) == ("transformer", "bad", "package af_bad")


def test_the_folder_wins_over_packages_and_packages_over_what_is_built_in(site: Path, write: Write) -> None:
    install(
        write,
        "af_zero",
        "[auditflow.transformers]\nzero = af_zero\n",
        "def transform(e): return {'from': 'package'}",
    )
    entry = discover().get_transformer("zero")
    assert entry.function()({}, {}) == {"from": "package"}
    assert not entry.identity
    write("plugins/transformers/zero.py", "def transform(e): return {'from': 'folder'}")
    assert discover(site / "plugins").get_transformer("zero").function()({}, {}) == {"from": "folder"}


def test_a_name_is_only_looked_up_never_imported(write: Write, tmp_path: Path) -> None:
    for name in ("os", "_base", "logging_sin", "../x", "", "auditflow.sinks.logging_sink"):
        with pytest.raises(PluginNotFound):
            discover(tmp_path).get_sink(name)


def test_an_unknown_name_gets_a_suggestion_and_the_list() -> None:
    with pytest.raises(PluginNotFound) as raised:
        discover().get_sink("loging_sink")
    assert "did you mean logging_sink?" in raised.value.hint
    assert "webhook_sink" in raised.value.hint


def test_a_plugin_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginDirectoryMissing, match="nowhere"):
        discover(tmp_path / "nowhere")
