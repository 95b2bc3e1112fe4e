"""What any HTTP client may expect of any HTTP server."""

from __future__ import annotations

import gzip
import json

import httpx2
import pytest

from .conftest import Serve

CONFIG = "pipelines:\n  - {name: a, sink: {name: logging_sink}}\n"
EVENT = b'{"eventType":"a","sourceSystem":"b"}'


@pytest.fixture
def running(serve) -> Serve:
    return serve(CONFIG)


@pytest.mark.timeout(180)
def test_head_slashes_allow_and_encodings(running: Serve):
    with httpx2.Client(base_url=running.url, timeout=30) as client:
        for path in ("/live", "/ready", "/api/v1/status", "/metrics", "/live/"):
            head, got = client.head(path), client.get(path)
            assert (head.status_code, got.status_code, head.content) == (200, 200, b""), path
            assert head.headers["content-type"] == got.headers["content-type"]
        assert client.delete("/live").headers["allow"] == "GET, HEAD"
        assert client.get("/audit/publish").headers["allow"] == "POST"
        assert client.head("/audit/publish").status_code == 405
        assert client.put("/api/v1/pipelines/a/pause").headers["allow"] == "POST"
        json_ = {"Content-Type": "application/json"}
        assert client.post("/audit/publish/", content=EVENT, headers=json_).status_code == 200
        packed = {**json_, "Content-Encoding": "x-gzip"}
        body = gzip.compress(EVENT) + bytes(64)
        assert client.post("/audit/publish", content=body, headers=packed).status_code == 200
        lines = {"Content-Type": "application/jsonl"}
        answer = client.post("/audit/publish", content=EVENT + b"\n" + EVENT + b"\n", headers=lines)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 2)
        answer = client.post("/audit/publish", content=EVENT + b"\n" + EVENT + b"\n", headers=json_)
        assert answer.status_code == 400
        assert "application/x-ndjson" in json.loads(answer.content)["message"]
