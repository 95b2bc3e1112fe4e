"""Both servers do what their OpenAPI documents say, whatever is asked of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
OPTIONS = ["--phases", "coverage,fuzzing,stateful", "--max-examples", "10", "--seed", "1", "--no-color"]
# A schema cannot say that a body is gzip when a header says so, or that a purge needs some filter or other.
# A list of dead letters that was emptied is still there, as an empty list.
LEFT_OUT = ["--exclude-checks", "positive_data_acceptance,use_after_free"]
LOG = "pipelines: [{name: log, sink: {name: logging_sink}}]\n"


@pytest.mark.parametrize("server", ["url", "sink_url"])
def test_every_answer_is_as_documented_and_what_the_document_forbids_is_refused(serve, server, tmp_path):
    running = serve(LOG)
    document = getattr(running, server) + "/openapi.json"
    asked = subprocess.run(
        [SCHEMATHESIS, "run", document, *OPTIONS, *LEFT_OUT],
        capture_output=True, text=True, cwd=tmp_path, timeout=110, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stdout[-3000:]
    assert "Tested:" in asked.stdout
    assert "Traceback" not in running.log
