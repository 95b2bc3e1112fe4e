"""Where callers of the sink service may lead it, with a resolver that answers as the test says."""

from __future__ import annotations

import socket
from collections import deque
from ipaddress import ip_address, ip_network

import pytest

from auditflow.api.sink_service import OpenSinks
from auditflow.errors import EgressDenied
from auditflow.plugins import discover
from auditflow.sinks._base import Verdict
from auditflow.sinks._egress_policy import LOOPBACK, EgressPolicy

PUBLIC = "93.184.215.14"
INSIDE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:db8::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> deque[list[str]]:
    """Answers of the name server, one for each question, the last one forever; addresses resolve to themselves."""
    given: deque[list[str]] = deque()
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *rest, **named):
        if not str(host).endswith(".example"):
            return real(host, port, *rest, **named)
        addresses = given.popleft() if len(given) > 1 else given[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port or 0)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return given


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_or_special_is_out_of_reach(address):
    assert not EgressPolicy().includes(ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "64:ff9b::93.184.215.14", "2600:1f18::1", "::ffff:8.8.8.8"])
def test_what_is_public_is_within_reach(address):
    assert EgressPolicy().includes(ip_address(address))


def test_a_network_that_is_named_is_within_reach_and_its_neighbours_are_not():
    egress = EgressPolicy([ip_network("10.1.0.0/16"), *LOOPBACK])
    assert egress.includes(ip_address("10.1.2.3"))
    assert egress.includes(ip_address("::ffff:10.1.2.3"))
    assert egress.includes(ip_address("::1"))
    assert not egress.includes(ip_address("10.2.0.1"))


@pytest.mark.parametrize(
    "value",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://user:password@10.0.0.1:8443/x",
        "http://public@10.0.0.1/",
        "http://[::1]:9000/",
        "HTTP://127.0.0.1",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://localhost:4580",
        "http://rebound.example/",
        "http://169.254\t.169.254/",
        "tcp://10.0.0.1:9092",
        "10.0.0.1",
        "[::1]",
        ["https://93.184.215.14", {"url": "https://10.0.0.1"}],
    ],
)
async def test_a_property_that_leads_inside_is_named_and_not_repeated(value, answers):
    answers.append([PUBLIC, "10.0.0.1"])  # one of its addresses is enough
    with pytest.raises(EgressDenied) as caught:
        await EgressPolicy().check({"log-group": "/a", "endpoint-url": value})
    assert str(caught.value).startswith("endpoint-url:")
    assert "10.0.0" not in caught.value.explained()
    assert "server.sink-service-may-reach" in caught.value.hint


@pytest.mark.parametrize(
    "value", ["https://known.example/x", f"https://{PUBLIC}/", "/aws/group", "a: b", "5", "", 5, None, True]
)
async def test_any_other_property_passes(value, answers):
    answers.append([PUBLIC])
    await EgressPolicy().check({"log-group": value})


async def test_a_name_that_does_not_exist_is_left_to_the_sink(answers):
    answers.append([])
    await EgressPolicy().check({"webhook-url": "https://gone.example"})


async def send(egress: EgressPolicy, url: str) -> list[Verdict]:
    sinks = OpenSinks(egress)
    try:
        async with sinks.use(discover().get_sink("webhook_sink"), {"webhook-url": url}) as sink:
            return [outcome.verdict for outcome in await sink.deliver([b"{}"])]
    finally:
        await sinks.close()


async def test_a_name_that_leads_elsewhere_once_it_was_checked_gets_nothing(receiver, answers):
    answers += [[PUBLIC], ["127.0.0.1"]]
    verdicts = await send(EgressPolicy(), receiver.url.replace("127.0.0.1", "rebound.example"))
    assert verdicts == [Verdict.RETRY]
    assert not receiver.bodies


async def test_the_address_that_was_checked_is_the_one_connected_to(receiver, answers):
    answers += [["127.0.0.1"], ["127.0.0.1"], ["10.255.255.1"]]
    verdicts = await send(EgressPolicy(LOOPBACK), receiver.url.replace("127.0.0.1", "known.example"))
    assert verdicts == [Verdict.DELIVERED]
    assert len(receiver.bodies) == 1
    assert receiver.requests[0][1]["Host"].startswith("known.example:")
    assert len(answers) == 1, "it was resolved no third time"
