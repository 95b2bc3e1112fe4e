from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from auditflow.config import Config
from auditflow.config.model import PipelineConfig, Surroundings
from auditflow.plugins import Catalogue
from auditflow.settings import Settings, faults


def test_the_defaults_are_the_documented_ones() -> None:
    config = Config()
    server, journal = config.server, config.journal
    assert (server.host, server.port, server.sink_host, server.sink_port) == (
        "127.0.0.1",
        8080,
        "127.0.0.1",
        8082,
    )
    assert (server.max_request_bytes, server.max_event_bytes, server.max_request_events) == (
        16 << 20,
        4 << 20,
        10_000,
    )
    assert server.shutdown_timeout == 25
    assert (journal.path, journal.max_size, journal.retention, journal.dedup_window) == (
        None,
        10 << 30,
        86400,
        86400,
    )
    assert config.plugins.directory is None
    assert config.pipelines == ()


def test_a_pipeline_reads_in_the_order_in_which_events_pass() -> None:
    assert list(PipelineConfig.model_fields) == [
        "name", "enabled", "condition", "sample", "transformer", "transformers", "sink", "delivery",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["zero"]),
        ({"transformers": []}, ["zero"]),
        ({"transformer": {"name": "a"}}, ["a"]),
        ({"transformers": [{"name": "a"}, {"name": "b", "properties": {"x": 1}}]}, ["a", "b"]),
    ],
)
def test_one_transformer_several_or_none_become_a_list(given: dict[str, object], names: list[str]) -> None:
    pipeline = PipelineConfig.model_validate({"name": "p", "sink": {"name": "s"}, **given})
    assert [transformer.name for transformer in pipeline.transformers] == names


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"server": {"port": 65536}}, ("server", "port")),
        ({"server": {"sink-port": -1}}, ("server", "sink-port")),
        ({"server": {"port": 9000, "sink-port": "9000"}}, ("server", "sink-port")),
        ({"server": {"max-request-bytes": 0}}, ("server", "max-request-bytes")),
        ({"server": {"shutdown-timeout": "-1s"}}, ("server", "shutdown-timeout")),
        ({"journal": {"max-size": "0B"}}, ("journal", "max-size")),
        ({"journal": {"path": "~/journal"}}, ("journal", "path")),
        ({"pipelines": [{"name": "a b", "sink": {"name": "s"}}]}, ("pipelines", 0, "name")),
        ({"pipelines": [{"name": "-a", "sink": {"name": "s"}}]}, ("pipelines", 0, "name")),
        ({"pipelines": [{"name": "a" * 129, "sink": {"name": "s"}}]}, ("pipelines", 0, "name")),
        ({"pipelines": [{"name": "a", "sample": 1.1, "sink": {"name": "s"}}]}, ("pipelines", 0, "sample")),
        ({"pipelines": [{"name": "a", "sample": "nan", "sink": {"name": "s"}}]}, ("pipelines", 0, "sample")),
        ({"pipelines": [{"name": "a"}]}, ("pipelines", 0, "sink")),
        (
            {"pipelines": [{"name": "a", "sink": {"name": "s", "fallback": {}}}]},
            ("pipelines", 0, "sink", "fallback", "name"),
        ),
        (
            {
                "pipelines": [
                    {"name": "a", "sink": {"name": "s", "fallback": {"name": "s", "backfill": True}}}
                ]
            },
            ("pipelines", 0, "sink", "fallback"),
        ),
        ({"auth": {}}, ("auth",)),
    ],
)
def test_what_makes_no_sense_or_is_not_there_yet_is_refused(
    given: dict[str, object], where: tuple[object, ...]
) -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(given)
    assert [fault.where for fault in faults(raised.value)] == [where]


def test_port_0_may_be_given_for_both_ports() -> None:
    server = Config.model_validate({"server": {"port": 0, "sink-port": "0"}}).server
    assert (server.port, server.sink_port) == (0, 0)


def test_sizes_and_durations_are_written_with_units() -> None:
    config = Config.model_validate({"journal": {"path": "j", "max-size": "1GiB", "retention": "2d"}})
    assert (config.journal.path, config.journal.max_size, config.journal.retention) == (
        Path("j"),
        1 << 30,
        172800,
    )


PLANTED = "hunter2"
FORMS = [f"{PLANTED} x", f"{PLANTED}-é", f"https://me:{PLANTED}/x@a.example", f"https://me:{PLANTED}@[a", f"({PLANTED}",
         f"-----BEGIN {PLANTED}\n"]  # fmt: skip
NAMES = {"name", "operator", "field", "log_group", "log_stream"}
"""What is looked up, or has its fields checked: names, which are repeated so that people find them."""


def models(of: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for model in of.__subclasses__():
        if model.__module__.startswith("auditflow."):
            yield model
        yield from models(model)


def test_no_value_is_repeated_in_what_is_said_of_it(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.check_all()
    refused, around = set(), Surroundings(catalogue, tmp_path)
    for model in models():
        for name, field in model.model_fields.items():
            for given in (value for form in FORMS for value in (form, [form], {"x": form})):
                try:
                    model.model_validate({field.alias or name: given}, context=around)
                except ValidationError as error:
                    said = [f"{fault.message} {fault.hint}" for fault in faults(error)]
                    refused.add(name)
                    assert name in NAMES or PLANTED not in "".join(said), (model, name, given)
    assert {"region", "timeout", "endpoint_url", "webhook_url", "addresses", "certificate"} <= refused
