from collections.abc import Callable
from pathlib import Path

import pytest

from auditflow.config import Config, Problem, advise, load

Advised = Callable[..., list[Problem]]

READY = "log-group: /acme/a, create-log-group: false"


@pytest.fixture
def advised(loaded: Callable[..., Config], tmp_path: Path) -> Advised:
    """Load YAML text and give the advice on it."""

    def advised(text: str, environ: dict[str, str] | None = None) -> list[Problem]:
        return advise(loaded(text, environ), tmp_path / "auditflow.yaml", environ or {})

    return advised


def test_advice_names_the_sink_where_it_stands_in_the_file(advised: Advised, tmp_path: Path) -> None:
    warnings = advised("""\
        pipelines:
          - name: fine
            sink: {name: logging_sink}
          - name: b
            sink:
              name: aws_cloudwatch_sink
              properties: {log-group: /acme/b, retention-in-days: 30}
          - name: a
            sink: {name: aws_cloudwatch_sink, properties: {log-group: /acme/a, retention-in-days: 30}}
        """)
    assert [(each.line, each.column, each.path) for each in warnings] == [
        (5, 5, "pipelines[1].sink"),
        (9, 5, "pipelines[2].sink"),
    ]
    assert {each.file for each in warnings} == {str(tmp_path / "auditflow.yaml")}


def test_a_pipeline_that_does_not_run_needs_no_advice(advised: Advised) -> None:
    written = """\
        pipelines:
          - name: a
            enabled: {}
            sink: {{name: aws_cloudwatch_sink, properties: {{log-group: /acme/a}}}}
        """
    assert advised(written.format("true"))
    assert not advised(written.format("false"))


def test_a_key_in_the_file_is_told_from_one_in_a_variable(advised: Advised) -> None:
    text = f"""\
        pipelines:
          - name: a
            sink:
              name: aws_cloudwatch_sink
              properties: {{{READY}, access-key-id: AKIAEXAMPLE, secret-access-key: %s}}
        """
    (written,) = advised(text % "top-secret")
    (filled,) = advised(text % '"${KEY}"', {"KEY": "top-secret"})
    assert "written in the file" in written.message
    assert "from the environment" in filled.message
    assert "top-secret" not in f"{written}{filled}"


def test_advice_repeats_no_value_that_a_variable_brought(advised: Advised) -> None:
    text = "pipelines: [{name: a, sink: {name: aws_cloudwatch_sink, properties: {log-group: '${GROUP}'}}}]"
    assert not any("/acme/private" in str(warning) for warning in advised(text, {"GROUP": "/acme/private"}))


def test_sinks_without_typed_properties_are_passed_over(
    loaded: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "plain.yaml").write_text("pipelines: []\n")
    config = loaded("pipelines: [{name: a, sink: {name: logging_sink}}]")
    untyped = config.pipelines[0].sink.model_copy(update={"properties": {"path": "x"}})
    pipeline = config.pipelines[0].model_copy(update={"sink": untyped})
    assert advise(config.model_copy(update={"pipelines": (pipeline,)}), tmp_path / "plain.yaml", {}) == []


def test_paths_that_no_event_has_are_warned_of_where_they_stand(advised: Advised) -> None:
    first, second = advised("""\
        redaction:
          rules:
            - {field: Extra.email}
            - {field: extra.email}
        pipelines:
          - name: all
            condition: {rules: [{field: eventType.kind, operator: exists}]}
            sink: {name: logging_sink}
        """)
    assert (first.line, second.line) == (3, 7)
    assert "the field is called extra" in first.message
    assert "eventType is a text" in second.message


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("pipelines:\n", True),
        ("{}\n", True),
        ("pipelines: []\n", False),
        ("tenants: {directory: .}\n", False),
    ],
)
def test_a_file_that_delivers_nothing_is_warned_of_unless_it_says_so(tmp_path, text, warned):
    file = tmp_path / "auditflow.yaml"
    file.write_text(text)
    found = advise(load(file, {}), file, {})
    assert [each.message for each in found] == ["there are no pipelines, so nothing is delivered"] * warned


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        ("operator: regex, value: login", "regex has to match the whole text"),
        ("operator: regex, value: '.*login'", ""),
        ("operator: regex, value: '^login$'", ""),
        ("operator: search, value: login", ""),
        ("operator: neq, value: a", "neq does not take events without the field extra.x"),
        ("operator: notIn, value: a", "notIn does not take events without the field extra.x"),
        ("operator: neq, value: a, missing: match", ""),
        ("operator: neq, value: a, missing: fail", ""),
        ("operator: eq, value: a", ""),
    ],
)
def test_rules_that_often_mean_something_else_are_warned_of(tmp_path: Path, rule: str, warning: str) -> None:
    file = tmp_path / "auditflow.yaml"
    file.write_text(
        "pipelines:\n"
        "  - name: one\n"
        f"    condition: {{rules: [{{field: extra.x, {rule}}}]}}\n"
        "    sink: {name: logging_sink}\n"
    )
    given = advise(load(file, {}), file, {})
    assert [each.message[: len(warning)] for each in given] == ([warning] if warning else [])
    assert all(each.line == 3 for each in given)
