import asyncio
import hashlib
import hmac
import threading

import pytest

from auditflow.errors import SecretMissing, SecretsUnavailable
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.plugins import discover
from auditflow.secrets import sink as _secret_sink
from auditflow.secrets.references import SecretText, seal
from auditflow.secrets.sources import SecretSource
from auditflow.sinks._base import Verdict

EVENTS = [b'{"n":1}', b'{"n":2}']


class Vault(SecretSource):
    """Secrets by tenant and key, and how often they were asked for."""

    def __init__(self, **secrets):
        self.secrets = secrets
        self.asked = 0
        self.forgotten = []
        self.down = False

    def get(self, tenant, key):
        self.asked += 1
        assert threading.current_thread() is not threading.main_thread(), "it may block"
        if self.down:
            raise SecretsUnavailable(tenant=tenant, place="the vault", reason="down")
        value = self.secrets.get(f"{tenant}_{key}")
        if value is None:
            raise SecretMissing(tenant=tenant, key=key, place="the vault", hint=f"Put {key} into it.")
        return value

    def forget(self, tenant):
        self.forgotten.append(tenant)


def secret(key):
    return SecretText.of(["", key, ""])


def made(given, vault, tenant="acme", sink="webhook_sink", plugins=None):
    entry = discover(plugins).get_sink(sink)
    return entry.create(seal(given, tenant, entry.parse), vault)


@pytest.fixture
async def webhook(receiver):
    """Make a webhook sink that signs with the secret `hmac`, and close it in the end."""
    sinks = []

    def webhook(vault, tenant="acme", **more):
        given = {"webhook-url": receiver.url, "secret": secret("hmac"), **more}
        sinks.append(made(given, vault, tenant))
        return sinks[-1]

    yield webhook
    for sink in sinks:
        await sink.close()


@pytest.fixture
def look_each_time(monkeypatch):
    monkeypatch.setattr(_secret_sink, "LOOK_SECONDS", 0.0)


def signed_with(receiver, key):
    return [
        headers["X-Hub-Signature-256"] == f"sha256={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}"
        for _, headers, body in receiver.requests
    ]


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


async def test_the_sink_works_with_the_tenants_own_secret(receiver, webhook):
    vault = Vault(acme_hmac="of acme", other_hmac="of other")
    assert verdicts(await webhook(vault).deliver(EVENTS)) == [Verdict.DELIVERED] * 2
    assert signed_with(receiver, "of acme") == [True, True]
    receiver.requests.clear()
    await webhook(vault, "other").deliver(EVENTS)
    assert signed_with(receiver, "of other") == [True, True]


async def test_nobody_is_asked_before_there_is_something_to_deliver(receiver, webhook):
    vault = Vault()
    sink = webhook(vault)
    await sink.open()
    assert sink.destination == f"webhook:http://127.0.0.1:{receiver.server_port}"
    assert (sink.limits.events, sink.ordered, vault.asked) == (100, False, 0)


async def test_a_missing_secret_blocks_and_says_whose_and_where(receiver, webhook):
    vault = Vault(other_hmac="of other")
    outcomes = await webhook(vault).deliver(EVENTS)
    assert verdicts(outcomes) == [Verdict.BLOCKED] * 2
    assert (outcomes[0].code, outcomes[0].hint) == ("SECRET_MISSING", "Put hmac into it.")
    for word in ("'hmac'", "'acme'", "the vault"):
        assert word in outcomes[0].reason
    assert receiver.requests == []


async def test_a_missing_secret_that_comes_is_used_at_the_next_attempt(receiver, webhook):
    vault = Vault()
    sink = webhook(vault)
    await sink.deliver(EVENTS)
    vault.secrets["acme_hmac"] = "late"
    assert verdicts(await sink.deliver(EVENTS)) == [Verdict.DELIVERED] * 2


async def test_a_destination_is_blocked_with_the_hint_until_the_secret_is_there(webhook):
    vault = Vault()
    destination = Destination(webhook(vault))
    [outcome] = await destination.deliver(EVENTS[:1], PauseGate())
    assert (outcome.verdict, outcome.code, destination.failures) == (Verdict.BLOCKED, "SECRET_MISSING", 1)
    vault.secrets["acme_hmac"] = "now"
    [outcome] = await destination.deliver(EVENTS[:1], PauseGate())
    assert (outcome.verdict, destination.failures) == (Verdict.DELIVERED, 0)


async def test_a_source_that_cannot_be_reached_is_tried_again_and_gives_nothing_up(webhook):
    vault = Vault(acme_hmac="x")
    vault.down = True
    outcomes = await webhook(vault).deliver(EVENTS)
    assert [(each.verdict, each.code) for each in outcomes] == [(Verdict.RETRY, "SECRETS_UNAVAILABLE")] * 2


async def test_a_secret_that_has_changed_is_used_without_a_restart(receiver, webhook, look_each_time):
    vault = Vault(acme_hmac="old")
    sink = webhook(vault)
    await sink.deliver(EVENTS)
    receiver.requests.clear()
    vault.secrets["acme_hmac"] = "new"
    await sink.deliver(EVENTS)
    assert signed_with(receiver, "new") == [True, True]


async def test_a_secret_is_asked_for_now_and_then_only(webhook):
    vault = Vault(acme_hmac="x")
    sink = webhook(vault)
    for _ in range(5):
        await sink.deliver(EVENTS)
    assert vault.asked == 1


async def test_after_a_blocked_delivery_the_secret_is_asked_for_at_once(receiver, webhook):
    vault = Vault(acme_hmac="revoked")
    sink = webhook(vault)
    receiver.answer = lambda body: (401, {})
    assert verdicts(await sink.deliver(EVENTS)) == [Verdict.BLOCKED] * 2
    assert vault.forgotten == ["acme"]
    vault.secrets["acme_hmac"] = "fresh"
    receiver.answer = lambda body: (200, {})
    receiver.requests.clear()
    assert verdicts(await sink.deliver(EVENTS)) == [Verdict.DELIVERED] * 2
    assert signed_with(receiver, "fresh") == [True, True]


async def test_a_secret_that_goes_away_blocks_again(webhook, look_each_time):
    vault = Vault(acme_hmac="x")
    sink = webhook(vault)
    await sink.deliver(EVENTS)
    del vault.secrets["acme_hmac"]
    assert verdicts(await sink.deliver(EVENTS)) == [Verdict.BLOCKED] * 2


async def test_a_call_under_way_ends_with_the_secret_it_began_with(receiver, webhook, look_each_time):
    vault = Vault(acme_hmac="old")
    sink = webhook(vault)
    arrived, go_on = threading.Event(), threading.Event()

    def answer(body):
        arrived.set()
        assert go_on.wait(10)
        return 200, {}

    receiver.answer = answer
    first = asyncio.create_task(sink.deliver(EVENTS[:1]))
    await asyncio.to_thread(arrived.wait, 10)
    vault.secrets["acme_hmac"] = "new"
    receiver.answer = lambda body: (200, {})
    assert verdicts(await sink.deliver(EVENTS[1:])) == [Verdict.DELIVERED]
    go_on.set()
    assert verdicts(await first) == [Verdict.DELIVERED]
    assert signed_with(receiver, "old") == [True, False]


async def test_a_whole_address_may_be_a_secret_and_is_told_by_its_host_only(receiver, look_each_time):
    sink = made({"webhook-url": secret("url")}, Vault(acme_url=receiver.url))
    try:
        assert verdicts(await sink.deliver(EVENTS)) == [Verdict.DELIVERED] * 2
        assert sink.destination == f"webhook:http://127.0.0.1:{receiver.server_port}"
    finally:
        await sink.close()


async def test_a_secret_that_does_not_fit_blocks_and_is_not_repeated():
    sink = made({"webhook-url": secret("url")}, Vault(acme_url="hunter2-is-no-url"))
    [outcome] = await sink.deliver(EVENTS[:1])
    assert (outcome.verdict, outcome.code) == (Verdict.BLOCKED, "SECRET_UNFIT")
    assert "webhook-url" in outcome.reason
    assert outcome.hint == "Correct what these secrets hold: url."
    assert "hunter2" not in f"{outcome}"


TALKATIVE = """
def process(event_data, properties):
    if event_data["n"] == 1:
        raise RuntimeError("cannot log in with " + properties["login"])
    return {"as": properties["login"], "list": [properties["login"]], "count": 3}
"""


async def test_nothing_that_a_sink_says_repeats_a_secret(tmp_path):
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "talkative.py").write_text(TALKATIVE)
    sink = made({"login": secret("login")}, Vault(acme_login="hunter2"), sink="talkative", plugins=tmp_path)
    failed, delivered = await sink.deliver(EVENTS)
    assert (failed.verdict, failed.reason) == (Verdict.RETRY, "cannot log in with ***")
    assert (delivered.verdict, delivered.where) == (
        Verdict.DELIVERED,
        {"as": "***", "list": ["***"], "count": 3},
    )


FAULTY = """
from typing import ClassVar
from auditflow.sinks._base import Properties, Sink

class FaultyProperties(Properties):
    password: str
    '''Anything.'''

class Faulty(Sink[FaultyProperties]):
    Properties: ClassVar[type[FaultyProperties]] = FaultyProperties
    async def open(self):
        raise OSError("refused " + self.properties.password)
    async def deliver(self, events):
        return []
"""


async def test_what_a_sink_raises_is_told_without_the_secret(tmp_path, caplog):
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "faulty.py").write_text(FAULTY)
    sink = made(
        {"password": secret("password")}, Vault(acme_password="hunter2"), sink="faulty", plugins=tmp_path
    )
    [outcome] = await sink.deliver(EVENTS[:1])
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, "OSError: refused ***")
    assert "refused ***" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_literal_reference_from_a_request_is_no_reference(receiver):
    entry = discover().get_sink("webhook_sink")
    sink = entry.create(entry.parse({"webhook-url": receiver.url, "secret": "${secretRef:hmac}"}))
    await sink.open()
    await sink.deliver(EVENTS)
    await sink.close()
    assert signed_with(receiver, "${secretRef:hmac}") == [True, True]
