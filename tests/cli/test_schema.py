import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_the_schema_is_printed_with_every_sink(auditflow: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "my_sink.py").write_text("def process(event_data, properties): return {}\n")
    (tmp_path / "sinks" / "bad_sink.py").write_text("import not_there_at_all\n")
    answer = auditflow("schema", "--plugins", tmp_path)
    assert answer.code == 0
    assert json.loads(answer.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name in ("aws_cloudwatch_sink", "logging_sink", "my_sink"):
        assert f'"const": "{name}"' in answer.out
    assert "bad_sink" not in answer.out
