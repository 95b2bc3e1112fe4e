"""From publish to CloudWatch Logs, with every process real."""

from __future__ import annotations

import gzip
import json
import uuid

import httpx2

from .conftest import CLOUDWATCH, wait_for

GROUP = "/aws/auditflow/test"


def event(number: int = 0) -> dict:
    return {
        "eventType": "auth.login",
        "sourceSystem": "web",
        "eventId": str(uuid.uuid4()),
        "extra": {"n": number},
    }


def messages(cloud, group: str = GROUP) -> list[dict]:
    return [json.loads(record.message) for record in cloud.events(group)]


def test_one_event_and_a_thousand_arrive_once_with_every_field(serve, cloud):
    running = serve(cloud=cloud)
    one = event()
    assert running.publish(one).json()["eventId"] == one["eventId"]
    many = [event(n) for n in range(1000)]
    assert running.publish(*many).json() == {"accepted": 1000, "duplicates": 0, "rejected": []}
    row = running.settled()
    assert (row["accepted"], row["delivered"], row["state"]) == (1001, 1001, "active")
    arrived = messages(cloud)
    assert len(arrived) == 1001
    sent = {each["eventId"]: each for each in [one, *many]}
    for message in arrived:
        assert message | sent[message["eventId"]] == message
    assert cloud.count("DescribeLogGroups") == cloud.count("DescribeLogStreams") == 0


def test_gzip_arrives_too(serve, cloud):
    running = serve(cloud=cloud)
    body = gzip.compress(json.dumps([event(), event()]).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = httpx2.post(f"{running.url}/api/v1/audit/publish", content=body, headers=headers)
    assert answer.json()["accepted"] == 2
    running.settled()
    assert len(messages(cloud)) == 2


def test_a_repeat_is_not_delivered_twice_and_a_conflict_is_refused(serve, cloud):
    running = serve(cloud=cloud)
    first = event()
    assert running.publish(first).json()["duplicate"] is False
    assert running.publish(first).json()["duplicate"] is True
    conflict = running.publish(first | {"eventType": "auth.logout"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "EVENT_ID_CONFLICT")
    running.stop()
    running.start()
    assert running.publish(first).json()["duplicate"] is True
    running.settled()
    assert len(messages(cloud)) == 1


def test_pipelines_take_what_their_conditions_say(serve, cloud):
    config = (
        CLOUDWATCH
        + """
  - name: logins
    condition: {rules: [{field: extra.n, operator: lt, value: 3}]}
    sink:
      name: aws_cloudwatch_sink
      properties: {log-group: /aws/auditflow/logins, log-stream: few, flush-interval: 100ms}
"""
    )
    running = serve(config, cloud=cloud)
    running.publish(*[event(n) for n in range(10)])
    row = running.settled("logins")
    assert (row["delivered"], row["filtered"]) == (3, 7)
    assert running.settled()["delivered"] == 10
    assert sorted(message["extra"]["n"] for message in messages(cloud, "/aws/auditflow/logins")) == [0, 1, 2]


def test_a_log_group_deleted_while_running_is_made_again_and_nothing_is_lost(serve, cloud):
    running = serve(cloud=cloud)
    running.publish(*[event(n) for n in range(10)])
    running.settled()
    import boto3

    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
    boto3.client("logs", endpoint_url=cloud.url, **keys).delete_log_group(logGroupName=GROUP)
    running.publish(*[event(n) for n in range(10, 20)])
    assert running.settled()["delivered"] == 20
    assert sorted(message["extra"]["n"] for message in messages(cloud)) == list(range(10, 20))


def test_a_denied_destination_is_shown_as_blocked_with_a_hint_and_resumes(serve, cloud):
    fault = cloud.fault("deny")
    running = serve(cloud=cloud)
    running.publish(event())
    wait_for(lambda: running.status()["state"] == "blocked", what="the pipeline to be blocked")
    row = running.status()
    assert row["lastError"]["code"] == "AccessDeniedException"
    assert "logs:PutLogEvents" in row["lastError"]["hint"]
    assert row["pending"] == 1
    cloud.clear_faults()
    assert running.settled()["delivered"] == 1
    assert fault is not None


def test_a_backlog_is_delivered_after_a_restart(serve, cloud):
    cloud.fault("deny")
    running = serve(cloud=cloud)
    running.publish(*[event(n) for n in range(500)])
    wait_for(lambda: running.status()["state"] == "blocked", what="the pipeline to be blocked")
    assert running.stop() == 0
    cloud.clear_faults()
    running.start()
    assert running.settled()["delivered"] == 500
    assert sorted(message["extra"]["n"] for message in messages(cloud)) == list(range(500))


def test_a_stop_finishes_the_delivery_under_way_and_repeats_nothing(serve, cloud):
    cloud.fault("hang", seconds=2, times=1)
    running = serve(cloud=cloud)
    running.publish(*[event(n) for n in range(50)])
    wait_for(lambda: cloud.count("PutLogEvents") >= 1, what="the put to begin")
    assert running.stop() == 0
    running.start()
    running.settled()
    assert sorted(message["extra"]["n"] for message in messages(cloud)) == list(range(50))


def test_probes_metrics_and_the_contract_are_there(serve, cloud):
    running = serve(cloud=cloud)
    running.publish(event())
    for url in (running.url, running.sink_url):
        for path in ("/live", "/ready", "/health", "/info"):
            assert httpx2.get(url + path).status_code == 200, path
    metrics = httpx2.get(running.url + "/metrics").text
    assert 'auditflow_ingest_events_total{outcome="accepted"} 1.0' in metrics
    assert 'auditflow_pipeline_accepted_total{pipeline="cloudwatch"} 1.0' in metrics
    paths = httpx2.get(running.url + "/openapi.json").json()["paths"]
    assert {"/audit/publish", "/api/v1/audit/publish", "/api/v1/status", "/metrics"} <= paths.keys()
    assert httpx2.get(running.url + "/nowhere").json()["code"] == "NOT_FOUND"
    assert httpx2.get(running.url + "/audit/publish").status_code == 405
