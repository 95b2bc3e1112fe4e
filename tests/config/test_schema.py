import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from auditflow.config import schema
from auditflow.plugins import Catalogue, discover

GUIDE = Path(__file__).parent.parent / "data" / "guide"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    document = json.loads(json.dumps(schema(discover())))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def pipeline(**more: Any) -> dict[str, Any]:
    return {"pipelines": [{"name": "a", "sink": {"name": "logging_sink"}, **more}]}


@pytest.mark.parametrize("file", sorted(GUIDE.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_examples_of_the_guide_are_valid(validator: Draft202012Validator, file: Path) -> None:
    assert list(validator.iter_errors(yaml.safe_load(file.read_text()))) == []


@pytest.mark.parametrize(
    "document",
    [
        pipeline(name=5),
        pipeline(sink={"name": "aws_cloudwatch_sink", "properties": {"log-group": 5}}),
        pipeline(
            enabled="true", sample="0.5", delivery={"max-attempts": "3", "max-age": "7d", "max-in-flight": 2}
        ),
        pipeline(enabled="${ENABLED}", sample="${RATE:-1}", delivery={"when-blocked": "${WHAT}"}),
        pipeline(condition={"match": "any", "rules": [{"field": "a", "operator": "EQ", "value": 5}]}),
        pipeline(condition={"rules": [{"field": "a", "operator": "in", "value": ["x", 1]}]}),
        pipeline(transformers=[{"name": "zero", "properties": {"x": [1]}}]),
        pipeline(
            sink={"name": "aws_cloudwatch_sink", "properties": {"log-group": "g", "create-log-group": "${C}"}}
        ),
        {"server": {"port": "8080", "max-request-bytes": "16MiB"}, "journal": {"retention": 60}},
        {
            "redaction": {
                "enabled": "true",
                "key": "${K}",
                "rules": [{"field": "a", "strategy": "drop"}, {"detector": "ip"}],
            }
        },
    ],
)
def test_what_loads_is_valid(validator: Draft202012Validator, document: object) -> None:
    assert list(validator.iter_errors(document)) == []


@pytest.mark.parametrize(
    "document",
    [
        {"tenants": {}},
        pipeline(enabled="maybe"),
        pipeline(sample="lots"),
        pipeline(condition={"match": "some"}),
        pipeline(transformer={"name": "zeroo"}),
        pipeline(sink={"name": "nowhere_sink"}),
        pipeline(sink={"name": "aws_cloudwatch_sink"}),
        pipeline(sink={"name": "aws_cloudwatch_sink", "properties": {"log-gruop": "g", "log-group": "g"}}),
        pipeline(sink={"name": "logging_sink", "properties": {"log-group": "g"}}),
        pipeline(delivery={"when-blocked": "drop"}),
        {"server": {"port": "http"}},
    ],
)
def test_what_does_not_load_is_not_valid(validator: Draft202012Validator, document: object) -> None:
    assert list(validator.iter_errors(document))


def test_everything_that_can_be_written_is_described() -> None:
    missing = [path for path, node in named(schema(discover())) if not node.get("description")]
    assert missing == []


def named(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema that has a name in YAML."""
    for key, child in (
        node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    ):
        if key == "properties":
            for name, schema_ in child.items():
                yield f"{path}.{name}", schema_
                yield from named(schema_, f"{path}.{name}")
        else:
            yield from named(child, path)


def test_drop_in_sinks_take_any_property(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "my_sink.py").write_text("def process(event_data, properties): return {}\n")
    validator = Draft202012Validator(schema(discover(tmp_path)))
    assert validator.is_valid(pipeline(sink={"name": "my_sink", "properties": {"anything": 5}}))
