import logging
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException

from auditflow.api import problems


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("token=s3cr3t")

    @app.get("/forbidden")
    def forbidden() -> None:
        raise HTTPException(403, "Not you")

    @app.post("/things")
    def things(body: dict[str, Any]) -> None:
        pass

    @app.get("/both")
    @app.delete("/both")
    def both() -> None:
        pass

    return app


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("GET /nowhere", 404, "NOT_FOUND"),
        ("DELETE /things", 405, "VALIDATION_ERROR"),
        ("GET /forbidden", 403, "FORBIDDEN"),
        ("GET /broken", 500, "INTERNAL_ERROR"),
        ("POST /things", 400, "VALIDATION_ERROR"),
    ],
)
async def test_every_error_has_the_shape_of_the_contract(client, app, call, status, code):
    async with client(app) as ask:
        answer = await ask.request(*call.split())
    body = answer.json()
    assert answer.status_code == status
    assert body.keys() == {"code", "message", "timestamp", "traceId"}
    assert body["code"] == code
    assert body["timestamp"].endswith("Z")
    assert answer.headers["x-correlation-id"] == body["traceId"]


async def test_a_method_that_is_not_allowed_says_which_are(client, app):
    async with client(app) as ask:
        assert (await ask.delete("/things")).headers["allow"] == "POST"


async def test_the_callers_correlation_id_comes_back_and_a_malformed_one_does_not(client, app):
    async with client(app) as ask:
        kept = await ask.get("/nowhere", headers={"X-Correlation-ID": "order-17"})
        replaced = await ask.get("/nowhere", headers={"X-Correlation-ID": "<script>"})
    assert kept.json()["traceId"] == kept.headers["x-correlation-id"] == "order-17"
    assert "script" not in replaced.text + replaced.headers["x-correlation-id"]


async def test_a_fault_is_told_to_the_log_and_not_to_the_caller(client, app, caplog):
    async with client(app) as ask:
        answer = await ask.get("/broken")
    assert "s3cr3t" not in answer.text
    assert "RuntimeError" not in answer.text
    (record,) = [record for record in caplog.records if record.name == problems.__name__]
    assert record.levelno == logging.ERROR
    assert "s3cr3t" in str(record.exc_info)


@pytest.mark.parametrize("options", [{}, {"content": b'{"a": 1}'}, {"json": [1]}])
async def test_a_body_that_is_no_json_object_is_told_what_is_expected(client, app, options):
    async with client(app) as ask:
        answer = await ask.post("/things", **options)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The body must be a JSON object")
    assert "Content-Type: application/json" in answer.json()["message"]


async def test_a_wrong_method_is_told_all_that_are_allowed(client, app):
    async with client(app) as ask:
        answer = await ask.put("/both")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")
