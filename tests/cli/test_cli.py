import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from textwrap import dedent
from typing import Any, get_args

import pytest

import auditflow.cli
from auditflow import __version__
from auditflow.cli import COMMANDS, GROUPS, name_of, operate
from auditflow.errors import PluginNotFound

FUNCTIONS = {name_of(command): import_module(f"auditflow.cli.{command}").run for command in COMMANDS} | {
    f"{name_of(group)} {command.name}": command.callback
    for group in GROUPS
    for command in import_module(f"auditflow.cli.{group}").group.registered_commands
}


def test_every_file_of_the_folder_is_a_command_or_a_group() -> None:
    modules = {module.name for module in pkgutil.iter_modules(auditflow.cli.__path__)} - {
        "_shared",
        "operate",
    }
    modules |= {f"operate.{module.name}" for module in pkgutil.iter_modules(operate.__path__)}
    assert modules == {*COMMANDS, *GROUPS}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_option_has_a_flag_an_environment_variable_and_a_help_text(command: str) -> None:
    for name, parameter in inspect.signature(FUNCTIONS[command]).parameters.items():
        info: Any = get_args(parameter.annotation)[1]
        assert info.help, f"{command} {name} has no help"
        if type(info).__name__ == "OptionInfo":
            assert str(info.envvar).startswith("AUDITFLOW_"), f"{command} --{name} has no variable"


def test_help_lists_every_command(auditflow: Callable[..., Any]) -> None:
    answer = auditflow("--help")
    assert answer.code == 0
    for command in map(name_of, (*COMMANDS, *GROUPS)):
        assert f"\n  {command} " in answer.out


def test_help_loads_nothing_heavy() -> None:
    script = """
        import sys
        from auditflow.cli import main
        sys.argv = ["auditflow", "--help"]
        try:
            main()
        except SystemExit:
            heavy = {"pydantic", "fastapi", "uvicorn", "boto3", "apsw", "msgspec", "yaml", "auditflow.plugins"}
            print("loaded:", sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", dedent(script)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_the_version_is_printed_by_the_module_too() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "auditflow", "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == f"auditflow {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["check", "--nonsense"], ["check", "--format", "xml"], []]
)
def test_a_wrong_command_line_ends_with_2(auditflow: Callable[..., Any], arguments: list[str]) -> None:
    assert auditflow(*arguments).code == 2


def test_an_error_is_shown_as_message_and_hint_without_a_traceback(
    auditflow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PluginNotFound(kind="sink", name="x", suggestion="did you mean y?")

    monkeypatch.setattr("auditflow.plugins.discover", fail)
    answer = auditflow("sinks")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "auditflow: There is no sink named 'x'.\nhint: did you mean y?\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], ["serve"], ["dead-letters", "list"]])
def test_help_has_a_short_name_everywhere(
    auditflow: Callable[..., Any], command: list[str], flag: str
) -> None:
    answer = auditflow(*command, flag)
    assert (answer.code, "Usage:" in answer.out) == (0, True)


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_has_a_short_name(auditflow: Callable[..., Any], flag: str) -> None:
    assert auditflow(flag).out == f"auditflow {__version__}\n"


def test_completion_for_the_shell_is_there(auditflow: Callable[..., Any]) -> None:
    assert "--install-completion" in auditflow("--help").out


@pytest.mark.parametrize("level", ["INFO", "warn", "Warning", "debug"])
def test_a_level_may_be_written_in_any_usual_way(auditflow: Callable[..., Any], level: str) -> None:
    answer = auditflow("serve", "--config", "nowhere.yaml", "--log-level", level)
    assert "nowhere.yaml" in answer.err


def test_a_url_without_a_scheme_is_http(auditflow: Callable[..., Any]) -> None:
    answer = auditflow("status", "--url", "127.0.0.1:1")
    assert "http://127.0.0.1:1" in answer.err
