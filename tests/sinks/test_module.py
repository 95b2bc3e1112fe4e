import json
import threading
from typing import Any

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks._module import ModuleSink, declared_properties, plain_properties, process_of

EVENTS = [b'{"n":1}', b'{"n":2}', b'{"n":3}']


async def test_a_plain_function_gets_each_event_with_its_properties_and_gives_the_place() -> None:
    calls: list[Any] = []

    def process(event_data: dict[str, Any], properties: dict[str, str]) -> dict[str, Any]:
        calls.append((event_data, dict(properties)))
        properties.clear()
        return {"stored": event_data["n"]}

    outcomes = await ModuleSink("mine", process, {"url": "u"}).deliver(EVENTS)

    assert calls == [({"n": n}, {"url": "u"}) for n in (1, 2, 3)]
    assert [(outcome.verdict, outcome.where) for outcome in outcomes] == [
        (Verdict.DELIVERED, {"stored": n}) for n in (1, 2, 3)
    ]


async def test_an_exception_means_try_again_and_the_other_events_go_on() -> None:
    def process(event_data: dict[str, Any], properties: dict[str, str]) -> None:
        if event_data["n"] == 1:
            raise ConnectionError("no route")
        if event_data["n"] == 2:
            raise SystemExit("enough")

    outcomes = await ModuleSink("mine", process, {}).deliver(EVENTS)

    assert [(outcome.verdict, outcome.code, outcome.reason) for outcome in outcomes] == [
        (Verdict.RETRY, "ConnectionError", "no route"),
        (Verdict.RETRY, "SystemExit", "enough"),
        (Verdict.DELIVERED, "", ""),
    ]


async def test_a_number_that_no_float_holds_does_not_keep_an_event_from_being_processed() -> None:
    found: list[Any] = []
    event = b'{"n":1e400}'
    [outcome] = await ModuleSink("mine", lambda event, _: found.append(json.dumps(event)), {}).deliver(
        [event]
    )
    assert (outcome.verdict, found) == (Verdict.DELIVERED, ['{"n": Infinity}'])


async def test_a_batch_is_one_call_in_one_other_thread() -> None:
    threads = set()

    def process(event_data: dict[str, Any], properties: dict[str, str]) -> None:
        threads.add(threading.get_ident())

    await ModuleSink("mine", process, {}).deliver(EVENTS)

    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_reason_never_repeats_a_secret_property() -> None:
    def process(event_data: dict[str, Any], properties: dict[str, str]) -> None:
        raise ValueError(
            f"{properties['api-key']} and {properties['password']} refused at {properties['url']}"
        )

    sink = ModuleSink("mine", process, {"api-key": "k3y-k3y", "password": "hunter2", "url": "http://x"})
    [outcome] = await sink.deliver(EVENTS[:1])

    assert outcome.reason == "*** and *** refused at http://x"


async def test_a_closed_sink_tries_nothing_more() -> None:
    sink = ModuleSink("mine", lambda _event, _properties: pytest.fail("must not be called"), {})
    await sink.close()
    assert {outcome.verdict for outcome in await sink.deliver(EVENTS)} == {Verdict.RETRY}


def test_properties_become_text() -> None:
    given = {"a": "x", "b": 5, "c": True, "d": 1.5, "e": None}
    assert plain_properties(given) == {"a": "x", "b": "5", "c": "true", "d": "1.5"}


@pytest.mark.parametrize("declared", [None, "text", 3, [], {}])
def test_a_module_need_not_declare_its_properties(declared: object) -> None:
    assert list(declared_properties(declared)) == []


@pytest.mark.parametrize(
    "declared",
    [
        {"url": "Where to.", "api-key": {"description": "Key.", "required": True, "default": 5}},
        ["url", {"name": "api-key", "description": "Key.", "required": True, "default": 5}],
    ],
)
def test_declared_properties_are_read_in_either_form(declared: Any) -> None:
    url, key = declared_properties(declared)
    assert (url.name, url.required, url.secret) == ("url", False, False)
    assert (key.name, key.description, key.required, key.secret, key.default) == (
        "api-key",
        "Key.",
        True,
        True,
        "5",
    )


async def _async_process(event_data: object, properties: object) -> None: ...


@pytest.mark.parametrize("plugin", [_async_process, lambda event: event, lambda: None, dict, 3])
def test_what_cannot_be_called_with_event_and_properties_is_refused(plugin: object) -> None:
    with pytest.raises(TypeError):
        process_of(plugin)


async def test_value_error_means_never_and_one_about_an_answer_that_is_no_json_means_again() -> None:
    def process(event_data: dict[str, Any], properties: dict[str, str]) -> None:
        if event_data["n"] == 1:
            raise ValueError("no such user")
        json.loads("<html>")

    outcomes = await ModuleSink("mine", process, {}).deliver(EVENTS[:2])
    assert [outcome.verdict for outcome in outcomes] == [Verdict.REJECTED, Verdict.RETRY]


async def _later(event_data: Any, properties: Any) -> None: ...


def _hidden(event_data: Any, properties: Any) -> Any:
    return _later(event_data, properties)


async def _one_by_one(event_data: Any, properties: Any) -> Any:
    yield


def _generator(event_data: Any, properties: Any) -> Any:
    yield


@pytest.mark.parametrize("process", [_hidden, _one_by_one, _generator])
async def test_what_has_not_run_is_not_delivered(process: Any) -> None:
    outcomes = await ModuleSink("mine", process, {}).deliver(EVENTS)
    assert {(outcome.verdict, outcome.code) for outcome in outcomes} == {(Verdict.BLOCKED, "NOT_RUN")}
    assert "plain function" in outcomes[0].hint
