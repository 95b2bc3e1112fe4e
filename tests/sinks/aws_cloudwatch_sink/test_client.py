"""What goes over the wire, and how."""

import json
from contextlib import asynccontextmanager

import pytest

from auditflow.sinks._base import Verdict
from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchProperties, CloudWatchSink
from auditflow.testing.cloudwatch import StrictCloudWatch

GROUP = "/aws/auditflow/wire"


@asynccontextmanager
async def opened(url, **more):
    given = {
        "log-group": GROUP,
        "endpoint-url": url,
        "access-key-id": "AKIAEXAMPLE",
        "secret-access-key": "secret",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    sink = CloudWatchSink(CloudWatchProperties.model_validate(given))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


async def deliver(url, events, **more):
    async with opened(url, **more) as sink:
        return await sink.deliver(events)


EVENTS = [
    json.dumps({"eventType": "t", "n": n, "text": "日本 🎉 \x01"}, ensure_ascii=False).encode()
    for n in range(500)
]


@pytest.mark.parametrize(("compression", "smaller"), [("gzip", True), ("none", False)])
async def test_requests_are_compressed_or_not_and_hold_the_same(cloud, compression, smaller):
    outcomes = await deliver(cloud.url, EVENTS, compression=compression)
    assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}
    assert [record.message.encode() for record in cloud.events(GROUP)] == EVENTS
    request = cloud.requests[-1]
    assert (request.wire_bytes < request.bytes / 3) is smaller


async def test_a_compressed_request_is_signed_as_it_is_sent():
    with StrictCloudWatch() as cloud:
        cloud.add_identity(
            "AKIAEXAMPLE", "secret", account="123456789012"
        )  # from now on signatures are verified
        outcomes = await deliver(cloud.url, EVENTS)
    assert {o.verdict for o in outcomes} == {Verdict.DELIVERED}


async def test_the_ca_bundle_makes_an_authority_trusted(tls_cloud, tmp_path):
    (outcome,) = await deliver(tls_cloud.url, [b"{}"], ca_bundle=str(tmp_path / "cert.pem"))
    assert outcome.verdict is Verdict.DELIVERED


async def test_the_ca_bundle_counts_for_sts_too(tls_cloud, tmp_path):
    role = "arn:aws:iam::222222222222:role/Writer"
    more = {"sts_endpoint_url": tls_cloud.url, "role_arn": role, "ca_bundle": str(tmp_path / "cert.pem")}
    (outcome,) = await deliver(tls_cloud.url, [b"{}"], **more)
    assert outcome.verdict is Verdict.DELIVERED
    assert tls_cloud.count("AssumeRole") == 1


@pytest.mark.parametrize("file", ["none.pem", "key.pem", "."])
async def test_a_ca_bundle_that_holds_no_authority_blocks_and_says_so(tls_cloud, tmp_path, file):
    (outcome,) = await deliver(tls_cloud.url, [b"{}"], ca_bundle=str(tmp_path / file))
    assert outcome.verdict is Verdict.BLOCKED
    assert "ca-bundle" in outcome.hint


async def test_requests_go_through_the_proxy(cloud):
    (outcome,) = await deliver("http://logs.example.invalid", [b"{}"], proxy_url=cloud.url)
    assert outcome.verdict is Verdict.DELIVERED
    assert len(cloud.events(GROUP)) == 1


async def test_the_proxy_of_the_environment_is_used_and_can_be_left_out_for_a_host(cloud, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", cloud.url)
    (outcome,) = await deliver("http://logs.example.invalid", [b"{}"])
    assert outcome.verdict is Verdict.DELIVERED
    monkeypatch.setenv("NO_PROXY", "logs.example.invalid")
    (outcome,) = await deliver("http://logs.example.invalid", [b"{}"])
    assert outcome.verdict is not Verdict.DELIVERED


async def test_a_proxy_that_does_not_answer_shows_no_password():
    (outcome,) = await deliver(
        "http://logs.example.invalid", [b"{}"], proxy_url="http://me:hunter2@127.0.0.1:1"
    )
    assert outcome.verdict is Verdict.RETRY
    assert "hunter2" not in repr(outcome)


@pytest.mark.parametrize(("more", "host"), [({"use_fips_endpoint": "true"}, "logs-fips."), ({}, "logs.")])
async def test_the_endpoint_is_the_one_of_fips_when_asked(more, host):
    async with opened("", region="us-east-1", **more) as sink:
        assert sink._client.session.client().meta.endpoint_url == f"https://{host}us-east-1.amazonaws.com"


async def test_fips_may_come_from_the_environment_and_be_refused_by_the_property(monkeypatch):
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    async with opened("", region="us-east-1") as sink:
        assert "fips" in sink._client.session.client().meta.endpoint_url
    async with opened("", region="us-east-1", use_fips_endpoint="false") as sink:
        assert "fips" not in sink._client.session.client().meta.endpoint_url


async def test_an_endpoint_of_ones_own_wins_over_fips_of_the_environment(cloud, monkeypatch):
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    (outcome,) = await deliver(cloud.url, [b"{}"])
    assert outcome.verdict is Verdict.DELIVERED


async def test_a_region_of_the_environment_that_cannot_be_blocks(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "not a region")
    (outcome,) = await deliver("", [b"{}"])
    assert outcome.verdict is Verdict.BLOCKED
    assert "region" in outcome.hint
