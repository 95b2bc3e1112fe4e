"""JSON allows numbers that no float holds: an event with one goes every way that others go."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import httpx2

from .test_bad_input import auditflow

EVENT_ID = "0190163d-8694-739b-aea5-966c26f8ad90"
EXTRA = b'{"large":1e400,"small":-1e999,"digits":%s}' % (b"7" * 5000)
EVENT = b'{"eventId":"%s","eventType":"a","sourceSystem":"b","extra":%s}' % (EVENT_ID.encode(), EXTRA)
CONFIG = """\
plugins: {directory: plugins}
pipelines:
  - name: taken
    condition: {rules: [{field: extra.large, operator: gt, value: 5}]}
    transformer: {name: mark}
    sink: {name: logging_sink}
  - name: filtered
    condition: {rules: [{field: extra.digits, operator: lt, value: 5}]}
    sink: {name: logging_sink}
  - name: as-text
    sink: {name: logging_sink, properties: {format: text}}
  - name: plugin
    sink: {name: keeping_sink}
"""
MARK = "def transform(event):\n    return event | {'twice': event['extra']['small'] * 2, 'marked': True}\n"
KEEPING = """\
import json
from math import inf
from pathlib import Path

def process(event, properties):
    Path(__file__).with_suffix(".json").write_text(json.dumps(event))
"""


def test_a_number_that_no_float_holds_reaches_every_destination(serve, tmp_path: Path):
    for folder, name, code in (("transformers", "mark", MARK), ("sinks", "keeping_sink", KEEPING)):
        (tmp_path / "plugins" / folder).mkdir(parents=True)
        (tmp_path / "plugins" / folder / f"{name}.py").write_text(code)
    running = serve(CONFIG)
    answer = httpx2.post(
        f"{running.url}/audit/publish", content=EVENT, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text

    assert {name: running.settled(name)["delivered"] for name in ("taken", "as-text", "plugin")} == {
        "taken": 1, "as-text": 1, "plugin": 1,
    }  # fmt: skip
    assert running.settled("filtered")["filtered"] == 1
    assert b'"extra":%s' % EXTRA in running.log_file.read_bytes(), "as it came, through a transformer"
    assert '"marked":true' in running.log
    assert f"extra={EXTRA.decode()}" in running.log
    kept = json.loads((tmp_path / "plugins" / "sinks" / "keeping_sink.json").read_text())
    assert kept["extra"] == {"large": inf, "small": -inf, "digits": inf}

    said = httpx2.get(f"{running.url}/api/v1/events/{EVENT_ID}").json()
    assert "extra.digits lt 5" in json.dumps(said)
    (tmp_path / "event.json").write_bytes(EVENT)
    explained = auditflow("explain", "event.json", "--format", "json", cwd=tmp_path)
    assert '"found": 1e400' in explained.stdout
    assert explained.returncode == 0
