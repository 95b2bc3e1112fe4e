import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import httpx2
import pytest
from openapi_spec_validator import validate
from pydantic import SecretStr

from auditflow.api import sink_service
from auditflow.api.sink_service import OpenSinks, SinkService, build
from auditflow.errors import MissingExtra
from auditflow.plugins import Broken, Catalogue, SinkEntry, TransformerEntry, discover
from auditflow.sinks._base import DELIVERED, Outcome, Properties, Sink, Verdict

SECRET = "s3cr3t-t0ken"
EVENT = {"eventType": "auth.login", "sourceSystem": "web"}
DENIED = Outcome(Verdict.BLOCKED, "AccessDenied", "It may not write", "Allow it to")
REJECTED = Outcome(Verdict.REJECTED, "TOO_LARGE", "The event is too large")


class ToldProperties(Properties):
    """What the sink below takes."""

    token: SecretStr = SecretStr("")
    """Its secret."""
    size: int = 1
    """A number."""


class ToldSink(Sink[ToldProperties]):
    """Answers as the test tells it."""

    Properties: ClassVar[type[ToldProperties]] = ToldProperties
    made: ClassVar[list["ToldSink"]] = []
    opens: ClassVar[list[Exception]] = []
    """What the next ones raise when they are opened."""
    answer: ClassVar[Callable[[Sequence[bytes]], list[Outcome]]]
    gate: ClassVar[asyncio.Event]

    def __init__(self, properties: ToldProperties) -> None:
        super().__init__(properties)
        self.closed = 0
        self.delivered: list[bytes] = []
        self.made.append(self)

    @property
    def destination(self) -> str:
        return "told"

    async def open(self) -> None:
        if self.opens:
            raise self.opens.pop()

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        await self.gate.wait()
        assert not self.closed
        self.delivered += events
        return type(self).answer(events)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def told() -> type[ToldSink]:
    ToldSink.made = []
    ToldSink.opens = []
    ToldSink.answer = lambda events: [DELIVERED] * len(events)
    ToldSink.gate = asyncio.Event()
    ToldSink.gate.set()
    return ToldSink


def shout(event: dict[str, Any], properties: dict[str, Any]) -> Any:
    match event.get("want"):
        case "list":
            return [event, event]
        case "nothing":
            return None
        case "error":
            raise KeyError("userId")
        case "set":
            return {1, 2}
    return event | {"loud": True}


@pytest.fixture
async def ask(client, told) -> Iterator[httpx2.AsyncClient]:
    catalogue = Catalogue()
    catalogue.add(SinkEntry("told_sink", "test", lambda: told, "1.2"))
    catalogue.add(TransformerEntry("shout", "test", lambda: shout))
    catalogue.broken.append(Broken("sink", "bad_sink", "bad_sink.py", "No module named 'x'"))
    sinks = OpenSinks()
    async with client(build(SinkService(catalogue, sinks), lambda: "")) as ask:
        yield ask
    await sinks.close()
    assert all(sink.closed == 1 for sink in told.made)


def one(**properties: Any) -> dict[str, Any]:
    return {"event_data": EVENT, "properties": properties}


def always(outcome: Outcome) -> Callable[[Sequence[bytes]], list[Outcome]]:
    return lambda events: [outcome] * len(events)


async def test_a_delivered_event_is_told_with_where_it_is(ask, told):
    told.answer = always(Outcome(Verdict.DELIVERED, where={"log_group": "/a", "region": "eu-1"}))
    answer = await ask.post("/sink/told_sink", json=one())
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "success",
            "sink": "told_sink",
            "message": "1 of 1 events delivered to told",
            "result": {"sent": 1, "destination": "told", "log_group": "/a", "region": "eu-1"},
        },
    )
    assert [json.loads(event) for event in told.made[0].delivered] == [EVENT]


async def test_a_batch_is_answered_with_an_outcome_for_each_event(ask, told):
    told.answer = lambda events: [DELIVERED, REJECTED, DELIVERED]
    answer = await ask.post("/sink/told_sink", json={"events": [EVENT] * 3})
    result = answer.json()["result"]
    assert (answer.status_code, result["sent"]) == (200, 2)
    assert [row["verdict"] for row in result["outcomes"]] == ["delivered", "rejected", "delivered"]
    assert result["outcomes"][1]["code"] == "TOO_LARGE"


async def test_a_batch_of_which_nothing_arrived_is_refused_with_every_outcome(ask, told):
    told.answer = always(REJECTED)
    answer = await ask.post("/sink/told_sink", json={"events": [EVENT] * 2})
    assert (answer.status_code, answer.json()["code"]) == (502, "TOO_LARGE")
    assert [row["message"] for row in answer.json()["outcomes"]] == ["The event is too large"] * 2


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/sink/a-b", {"event_data": EVENT}, 400, "VALIDATION_ERROR"),
        ("/sink/a.b", {"event_data": EVENT}, 400, "VALIDATION_ERROR"),
        ("/sink/os", {"event_data": EVENT}, 404, "PLUGIN_NOT_FOUND"),
        ("/sink/bad_sink", {"event_data": EVENT}, 502, "PLUGIN_BROKEN"),
        ("/sink/told_sink", {}, 400, "VALIDATION_ERROR"),
        ("/sink/told_sink", {"event_data": EVENT, "events": [EVENT]}, 400, "VALIDATION_ERROR"),
        ("/sink/told_sink", {"events": []}, 400, "VALIDATION_ERROR"),
        ("/sink/told_sink", {"event_data": "text"}, 400, "VALIDATION_ERROR"),
        ("/sink/told_sink", {"event_data": EVENT, "props": {}}, 400, "VALIDATION_ERROR"),
        ("/sink/told_sink", [EVENT], 400, "VALIDATION_ERROR"),
        ("/transform/a-b", EVENT, 400, "VALIDATION_ERROR"),
        ("/transform/whisper", EVENT, 404, "PLUGIN_NOT_FOUND"),
        ("/transform/shout", [EVENT], 400, "VALIDATION_ERROR"),
        ("/nowhere", {}, 404, "NOT_FOUND"),
    ],
)
async def test_a_wrong_call_is_answered_in_the_shape_of_the_contract(ask, path, body, status, code):
    answer = await ask.post(path, json=body, headers={"X-Correlation-ID": "abc"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() >= {"code", "message", "timestamp", "traceId"}
    assert answer.headers["x-correlation-id"] == answer.json()["traceId"] == "abc"


async def test_an_unknown_sink_gets_a_suggestion(ask):
    answer = await ask.post("/sink/told_snik", json=one())
    assert "did you mean told_sink?" in answer.json()["hint"]


async def test_each_bad_property_is_named_and_never_its_value(ask, told):
    answer = await ask.post("/sink/told_sink", json=one(token=[SECRET], size=SECRET, tokn=SECRET))
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "INVALID_PROPERTIES")
    found = {row["property"]: row for row in body["properties"]}
    assert found.keys() == {"token", "size", "tokn"}
    assert found["size"]["message"] == "expected a whole number"
    assert "did you mean token?" in found["tokn"]["hint"]
    assert all(f"{name}: " in body["message"] for name in found)
    assert SECRET not in answer.text
    assert told.made == []


@pytest.mark.parametrize("outcome", [DENIED, REJECTED])
async def test_a_refusal_is_502_with_code_message_and_hint(ask, told, outcome):
    told.answer = always(outcome)
    answer = await ask.post("/sink/told_sink", json=one())
    body = answer.json()
    assert answer.status_code == 502
    assert (body["code"], body["message"], body["hint"]) == (outcome.code, outcome.reason, outcome.hint)


@pytest.mark.parametrize(("asked", "told_to_wait"), [(0.0, "1"), (7.0, "7")])
async def test_a_destination_that_is_busy_is_503_with_the_time_to_wait(ask, told, asked, told_to_wait):
    told.answer = always(Outcome(Verdict.RETRY, "Throttling", "Slow down", retry_after=asked))
    answer = await ask.post("/sink/told_sink", json=one())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, told_to_wait)
    assert answer.json()["code"] == "Throttling"


async def test_a_destination_that_does_not_answer_is_504(ask, told, monkeypatch):
    told.answer = always(Outcome(Verdict.RETRY, "ReadTimeout", "The request timed out", ambiguous=True))
    assert (await ask.post("/sink/told_sink", json=one())).status_code == 504
    monkeypatch.setattr(sink_service, "DELIVERY_SECONDS", 0.05)
    told.gate.clear()
    answer = await ask.post("/sink/told_sink", json=one())
    assert (answer.status_code, answer.json()["code"]) == (504, "DELIVERY_TIMED_OUT")


async def test_a_sink_that_raises_is_502_and_only_the_log_says_what(ask, told, caplog):
    def fail(events: Sequence[bytes]) -> list[Outcome]:
        raise RuntimeError(SECRET)

    told.answer = fail
    answer = await ask.post("/sink/told_sink", json=one())
    assert (answer.status_code, answer.json()["code"]) == (502, "SINK_FAILED")
    assert "RuntimeError" in answer.json()["message"]
    assert SECRET not in answer.text
    assert SECRET in caplog.text


async def test_a_failed_open_is_told_closed_and_tried_again(ask, told):
    told.opens.append(MissingExtra(what="told_sink", package="boto3", extra="aws"))
    first = await ask.post("/sink/told_sink", json=one())
    assert (first.status_code, first.json()["code"]) == (502, "MISSING_EXTRA")
    assert "pip install" in first.json()["hint"]
    assert told.made[0].closed == 1
    assert (await ask.post("/sink/told_sink", json=one())).status_code == 200
    assert len(told.made) == 2


async def test_an_open_sink_is_used_again_for_the_same_properties_only(ask, told):
    for size in (1, 2, 1, 2):
        await ask.post("/sink/told_sink", json=one(size=size, token=SECRET))
    await ask.post("/sink/told_sink", json={"event_data": EVENT, "properties": {"token": SECRET, "size": 1}})
    assert [(sink.properties.size, len(sink.delivered)) for sink in told.made] == [(1, 3), (2, 2)]
    assert [sink.closed for sink in told.made] == [0, 0]


async def test_calls_at_the_same_time_share_one_sink(ask, told):
    await asyncio.gather(*(ask.post("/sink/told_sink", json=one()) for _ in range(5)))
    assert len(told.made) == 1


async def test_only_so_many_sinks_stay_open_the_last_used_ones(ask, told, monkeypatch):
    monkeypatch.setattr(sink_service, "KEPT_SINKS", 2)
    for size in (1, 2, 1, 3):
        await ask.post("/sink/told_sink", json=one(size=size))
    assert [sink.closed for sink in told.made] == [0, 1, 0]


async def test_a_sink_in_use_is_not_closed_for_another(ask, told, monkeypatch):
    monkeypatch.setattr(sink_service, "KEPT_SINKS", 1)
    told.gate.clear()
    calls = [asyncio.create_task(ask.post("/sink/told_sink", json=one(size=size))) for size in (1, 2, 3)]
    while len(told.made) < 3:  # noqa: ASYNC110 - the sinks are made by the code under test
        await asyncio.sleep(0)
    told.gate.set()
    assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200] * 3
    assert sum(sink.closed for sink in told.made) == 2


@pytest.mark.parametrize(
    ("want", "result"),
    [
        ("dict", {"want": "dict", "loud": True}),
        ("list", [{"want": "list"}, {"want": "list"}]),
        ("nothing", None),
    ],
)
async def test_a_transformer_shows_what_it_makes_of_an_event(ask, want, result):
    answer = await ask.post("/transform/shout", json={"want": want})
    assert (answer.status_code, answer.json()) == (200, result)


@pytest.mark.parametrize(("want", "reason"), [("error", "KeyError: 'userId'"), ("set", "TypeError")])
async def test_a_transformer_that_fails_is_422_with_what_it_raised(ask, want, reason):
    answer = await ask.post("/transform/shout", json={"want": want})
    assert (answer.status_code, answer.json()["code"]) == (422, "TRANSFORM_FAILED")
    assert f"shout raised {reason}" in answer.json()["message"]


async def test_the_registry_lists_what_there_is_and_what_could_not_be_loaded(ask):
    registry = (await ask.get("/registry")).json()
    (sink,) = registry["sinks"]
    assert (sink["id"], sink["version"], sink["description"]) == (
        "told_sink",
        "1.2",
        "Answers as the test tells it.",
    )
    assert [(row["name"], row["type"], row["secret"]) for row in sink["properties"]] == [
        ("token", "text", True),
        ("size", "integer", False),
    ]
    assert [entry["id"] for entry in registry["transformers"]] == ["shout"]
    assert registry["errors"] == [
        {"kind": "sink", "id": "bad_sink", "path": "bad_sink.py", "error": "No module named 'x'"}
    ]


async def test_the_built_in_plugins_are_registered_and_the_openapi_document_is_valid(client):
    async with client(build(SinkService(discover(), OpenSinks()), lambda: "")) as ask:
        registry = (await ask.get("/registry")).json()
        assert {"aws_cloudwatch_sink", "logging_sink", "webhook_sink"} <= {s["id"] for s in registry["sinks"]}
        assert registry["errors"] == []
        document = (await ask.get("/openapi.json")).json()
    validate(document)
    assert {"/sink/{name}", "/transform/{name}", "/registry", "/live"} <= document["paths"].keys()


@pytest.mark.parametrize("name", ["endpoint-url", "sts-endpoint-url", "proxy-url"])
async def test_a_caller_cannot_lead_a_sink_to_the_metadata_service(client, name):
    async with client(build(SinkService(discover(), OpenSinks()), lambda: "")) as ask:
        properties = {"log-group": "/a", name: "http://169.254.169.254/latest/meta-data/?token=s3cr3t"}
        answer = await ask.post("/sink/aws_cloudwatch_sink", json=one(**properties))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "TARGET_REFUSED")
    assert problem["message"].startswith(name)
    assert "169.254" not in answer.text
    assert "sink-service-may-reach" in problem["hint"]
