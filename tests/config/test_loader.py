import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from auditflow.config import Config, ConfigError, Problem, load
from auditflow.plugins import Catalogue, discover

GUIDE = Path(__file__).parent.parent / "data" / "guide"
GUIDE_ENVIRON = {"ACCOUNT_ID": "111111111111", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s3cr3t"}

Loaded = Callable[..., Config]
Problems = Callable[..., list[Problem]]


@pytest.mark.parametrize("file", sorted(GUIDE.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_of_the_guide_loads_as_printed(file: Path, catalogue: Catalogue) -> None:
    config = load(file, GUIDE_ENVIRON, catalogue)
    assert len(config.pipelines) == file.read_text().count("- name:")
    for pipeline in config.pipelines:
        assert pipeline.enabled
        assert pipeline.sink.name == "aws_cloudwatch_sink"
        assert pipeline.sink.properties.log_group.startswith("/aws/auditflow/")  # type: ignore[union-attr]


def test_without_its_variable_the_organizations_example_has_exactly_one_problem(catalogue: Catalogue) -> None:
    file = GUIDE / "organizations.yaml"
    with pytest.raises(ConfigError) as raised:
        load(file, {}, catalogue)
    [problem] = raised.value.problems
    assert "ACCOUNT_ID" in problem.message
    assert "ACCOUNT_ID" in problem.hint
    assert (problem.file, problem.line, problem.column) == (str(file), 10, 21)
    assert problem.path == "pipelines[0].sink.properties.log-stream"


def test_properties_are_validated_and_typed_by_the_sink(loaded: Loaded) -> None:
    config = loaded(
        """
        pipelines:
          - name: a
            sink: {name: webhook_sink, properties: {webhook-url: "https://x/${T}", verify-ssl: "${V}", retry-count: "2"}}
        """,
        {"T": "tok", "V": "false"},
    )
    properties = config.pipelines[0].sink.properties
    assert (properties.verify_ssl, properties.retry_count) == (False, 2)  # type: ignore[union-attr]


def test_a_problem_reads_as_file_line_column_path_message_hint(problems: Problems) -> None:
    [unknown] = problems(
        """\
        pipelines:
          - name: a
            sink:
              name: logging_sink
              properties:
                log-levle: INFO
        """
    )
    assert str(unknown).partition("auditflow.yaml")[2] == (
        ":6:9: pipelines[0].sink.properties.log-levle: unknown property\n    hint: did you mean log-level?"
    )


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(problems: Problems) -> None:
    found = problems(
        """\
        pipelines:
          - name: a
            enabled: perhaps
            condition: {match: most, rules: [{field: a, operator: eqs, value: 1}]}
            transformer: {name: zeroo}
            transformers: [{name: zero}]
            sink: {name: loging_sink, properties: {x: "${UNSET}"}}
            sink: {}
          - name: a
            sink: {name: aws_cloudwatch_sink}
        server: {port: "x"}
        tenants: {directory: t}
        """
    )
    assert [(problem.line, problem.path) for problem in found] == [
        (3, "pipelines[0].enabled"),
        (4, "pipelines[0].condition.match"),
        (4, "pipelines[0].condition.rules[0].operator"),
        (5, "pipelines[0].transformer.name"),
        (6, "pipelines[0].transformers"),
        (7, "pipelines[0].sink.name"),
        (7, "pipelines[0].sink.properties.x"),
        (8, "pipelines[0].sink"),
        (9, "pipelines[1].name"),
        (10, "pipelines[1].sink.properties.log-group"),
        (11, "server.port"),
        (12, "tenants.directory"),
    ]


def test_an_unknown_sink_or_transformer_gets_a_suggestion_and_the_list(problems: Problems) -> None:
    sink, transformer = problems(
        "pipelines:\n- {name: a, sink: {name: loging_sink}}\n- {name: b, transformer: {name: zeero}, sink: {name: logging_sink}}\n"
    )
    assert "did you mean logging_sink?" in sink.hint
    assert "webhook_sink" in sink.hint
    assert "did you mean zero?" in transformer.hint


def test_a_repeated_name_names_both_lines(problems: Problems) -> None:
    [repeat] = problems(
        "pipelines:\n- {name: a, sink: {name: logging_sink}}\n- {name: a, sink: {name: logging_sink}}\n"
    )
    assert (repeat.line, repeat.path) == (3, "pipelines[1].name")
    assert "auditflow.yaml:2" in repeat.message


def test_a_problem_behind_an_alias_is_said_once(problems: Problems) -> None:
    text = "pipelines:\n- &p\n  name: a\n  sink: {name: logging_sink, properties: {format: '${NOPE}'}}\n- {<<: *p, name: b}\n"
    assert [problem.line for problem in problems(text)] == [4]


def test_an_unset_variable_is_one_problem_also_where_no_text_can_stand(problems: Problems) -> None:
    found = problems("server: {port: '${PORT}', host: '${HOST}'}\n")
    assert [problem.path for problem in found] == ["server.port", "server.host"]


@pytest.mark.parametrize(
    "text",
    [
        "journal: {retention: '${SECRET}'}",
        "journal: {max-size: ' ${SECRET} '}",
        "pipelines: [{name: '-${SECRET}', sink: {name: logging_sink}}]",
        "pipelines: [{name: a, sink: {name: '${SECRET}'}}]",
        "pipelines: [{name: a, sink: {name: '${SECRET}', properties: {}}, transformer: {name: '${SECRET}'}}]",
        "pipelines: [{name: a, condition: {rules: [{field: '${SECRET}..x', operator: '${SECRET}', value: 1}]}, sink: {name: logging_sink}}]",
        "pipelines: [{name: a, condition: {rules: [{field: a, operator: regex, value: '(${SECRET}'}]}, sink: {name: logging_sink}}]",
        "pipelines: [{name: '${SECRET}', sink: {name: logging_sink}}, {name: '${SECRET}', sink: {name: logging_sink}}]",
        "pipelines: [{name: a, sink: {name: webhook_sink, properties: {webhook-url: '${SECRET}'}}}]",
        "server: {port: '${SECRET}'}",
        "pipelines: '${SECRET}'",
        "pipelines: [{name: a, condition: {rules: [{field: 'x.[${SECRET}.y', operator: exists}]}, sink: {name: logging_sink}}]",
        "plugins: {directory: '${SECRET}'}",
    ],
)
@pytest.mark.parametrize("secret", ["Hunter2-is-Secret", 'it\'s \\ "Hunter2"'])
def test_no_problem_repeats_what_a_variable_held(
    problems: Problems, tmp_path: Path, text: str, secret: str
) -> None:
    found = problems(text, {"SECRET": secret}) if "plugins" not in text else unplugged(tmp_path, text, secret)
    assert found
    assert "hunter2" not in "\n".join(map(str, found)).lower()


def unplugged(tmp_path: Path, text: str, secret: str) -> list[Problem]:
    """Load without a given catalogue, so that the plugin folder is looked for."""
    file = tmp_path / "auditflow.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(file, {"SECRET": secret})
    return raised.value.problems


def test_numbers_that_are_names_stay_as_they_were_written(loaded: Loaded) -> None:
    config = loaded(
        "pipelines:\n- name: 0123\n  sink: {name: aws_cloudwatch_sink, properties: {log-group: 012, log-stream: 1.10}}\n"
    )
    properties = config.pipelines[0].sink.properties
    assert config.pipelines[0].name == "0123"
    assert (properties.log_group, properties.log_stream) == ("012", "1.10")  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "5\n"])
def test_a_document_that_is_no_mapping_is_a_problem_at_its_beginning(problems: Problems, text: str) -> None:
    [problem] = problems(text)
    assert (problem.line, problem.column, problem.path, problem.message) == (1, 1, "", "expected a mapping")


def test_several_files_add_up(tmp_path: Path, catalogue: Catalogue) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("pipelines: [{name: a, sink: {name: logging_sink}}]\nserver: {port: 1}\n")
    second.write_text("pipelines: [{name: b, sink: {name: logging_sink}}]\njournal: {retention: 1h}\n")
    config = load([first, second], {}, catalogue)
    assert [pipeline.name for pipeline in config.pipelines] == ["a", "b"]
    assert (config.server.port, config.journal.retention) == (1, 3600)


def test_what_two_files_both_say_is_a_problem_that_names_both(tmp_path: Path, catalogue: Catalogue) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "absent.yaml"]
    for file in files[:2]:
        file.write_text("pipelines: [{name: a, sink: {name: logging_sink}}]\nserver: {port: 1}\n")
    with pytest.raises(ConfigError) as raised:
        load(files, {}, catalogue)
    found = raised.value.problems
    assert [(Path(problem.file).name, problem.line) for problem in found] == [
        ("b.yaml", 1),
        ("b.yaml", 2),
        ("absent.yaml", 1),
    ]
    assert f"{files[0]}:1" in found[0].message
    assert f"{files[0]}:2" in found[1].message


def test_relative_paths_start_at_the_folder_of_their_file(loaded: Loaded, tmp_path: Path) -> None:
    assert loaded("journal: {path: data/j}\n").journal.path == tmp_path / "data" / "j"
    assert loaded("journal: {path: /data/j}\n").journal.path == Path("/data/j")


def test_drop_in_plugins_are_found_in_the_folder_that_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "mine" / "sinks").mkdir(parents=True)
    (tmp_path / "mine" / "sinks" / "my_sink.py").write_text(
        "def process(event_data, properties): return {}\n"
    )
    (tmp_path / "mine" / "sinks" / "bad_sink.py").write_text("def process(:\n")
    file = tmp_path / "a.yaml"
    file.write_text(
        "plugins: {directory: mine}\npipelines:\n- {name: a, sink: {name: my_sink, properties: {n: 5, ok: true, s: x}}}\n"
    )
    config = load(file, {})
    assert config.pipelines[0].sink.properties == {"n": "5", "ok": "true", "s": "x"}
    assert config.plugins.directory == tmp_path / "mine"

    file.write_text("plugins: {directory: mine}\npipelines:\n- {name: a, sink: {name: bad_sink}}\n")
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    [problem] = raised.value.problems
    assert problem.path == "pipelines[0].sink.name"
    assert "SyntaxError" in problem.message


def test_a_plugin_folder_that_is_not_there_is_a_problem_in_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("plugins:\n  directory: nowhere\n")
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    assert [(problem.line, problem.path) for problem in raised.value.problems] == [(2, "plugins.directory")]


def test_loading_imports_no_aws_library_and_needs_no_credentials(tmp_path: Path) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from auditflow.config import load
        load(Path({str(GUIDE / "development.yaml")!r}), {{}})
        print(sorted({{"boto3", "botocore", "fastapi"}} & set(sys.modules)))
    """
    command = [sys.executable, "-c", dedent(script)]
    done = subprocess.run(command, check=True, env={"PATH": ""}, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_an_error_survives_the_way_between_processes(problems: Problems) -> None:
    error = ConfigError(problems=problems("tenants: 1\n"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)
    assert "tenants" in str(again)


def test_an_empty_section_says_nothing(loaded: Loaded) -> None:
    assert loaded("pipelines:\nserver:\njournal:\n") == Config()


def test_a_thousand_pipelines_load_in_a_moment(tmp_path: Path) -> None:
    block = dedent((GUIDE / "development.yaml").read_text()).removeprefix("pipelines:\n")
    file = tmp_path / "many.yaml"
    file.write_text("pipelines:\n" + "".join(block.replace("cloudwatch-dev", f"p{n}") for n in range(1000)))
    assert len(load(file, {}, discover()).pipelines) == 1000


def test_a_pipeline_takes_what_its_delivery_leaves_out_from_the_top(tmp_path):
    (tmp_path / "a.yaml").write_text(
        """
delivery: {max-attempts: 3, when-blocked: dead-letter}
pipelines:
  - {name: plain, sink: {name: logging_sink}}
  - {name: own, sink: {name: logging_sink}, delivery: {when-blocked: hold, max-in-flight: 1}}
"""
    )
    (tmp_path / "b.yaml").write_text("pipelines: [{name: elsewhere, sink: {name: logging_sink}}]")
    loaded = load([tmp_path / "a.yaml", tmp_path / "b.yaml"], {})
    policies = {
        each.name: (each.delivery.max_attempts, each.delivery.when_blocked, each.delivery.max_in_flight)
        for each in loaded.pipelines
    }
    assert policies == {
        "plain": (3, "dead-letter", 4),
        "own": (3, "hold", 1),
        "elsewhere": (3, "dead-letter", 4),
    }
