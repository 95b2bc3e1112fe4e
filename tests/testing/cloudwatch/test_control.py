import httpx2
import pytest


@pytest.fixture
def http(cloud):
    with httpx2.Client(base_url=cloud.url) as client:
        yield client


def test_faults_are_put_in_force_listed_and_ended_over_http(http, logs, refused):
    answer = http.post("/_faults", json={"kind": "throttle", "operation": "DescribeLogGroups", "times": 1})
    assert answer.json()["faults"][0]["kind"] == "throttle"
    assert refused(logs.describe_log_groups)[0] == "ThrottlingException"
    logs.describe_log_groups()
    http.post("/_faults", json=[{"kind": "internal"}, {"kind": "hang", "seconds": 1}])
    assert len(http.get("/_faults").json()["faults"]) == 3
    http.delete("/_faults")
    assert http.get("/_faults").json() == {"faults": []}
    logs.describe_log_groups()


def test_a_bad_fault_is_explained(http):
    answer = http.post("/_faults", json={"kind": "gremlins"})
    assert answer.status_code == 400
    assert "gremlins" in answer.json()["message"]
    assert "throttle" in answer.json()["message"]


def test_requests_and_totals_are_shown(http, logs, stream, clock):
    logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "four"}])
    last = http.get("/_requests").json()["requests"][-1]
    assert (last["operation"], last["group"], last["stream"]) == ("PutLogEvents", "/audit", "app")
    assert (last["events"], last["stored"], last["bytes"], last["outcome"]) == (1, 1, 30, "ok")
    for path in ("/_counts", "/_requests?summary=1"):
        summary = http.get(path).json()
        assert (summary["events"], summary["stored"], summary["bytes"]) == (1, 1, 30)
        assert summary["operations"] == {"CreateLogGroup": 1, "CreateLogStream": 1, "PutLogEvents": 1}
        assert summary["outcomes"]["PutLogEvents ok"] == 1
    assert summary["groups"][0]["group"] == "/audit"


def test_events_are_read_back(http, logs, stream, clock):
    logs.put_log_events(**stream, logEvents=[{"timestamp": clock.ms, "message": "m"}])
    (event,) = http.get("/_events", params={"group": "/audit", "stream": "app"}).json()["events"]
    assert (event["message"], event["timestamp"], event["stream"]) == ("m", clock.ms, "app")


def test_a_reset_forgets_state_requests_and_faults(http, logs, cloud, stream):
    cloud.fault("throttle")
    http.post("/_reset")
    assert cloud.requests == []
    assert logs.describe_log_groups()["logGroups"] == []


def test_identities_and_roles_are_registered_over_http(strict, connect, refused):
    with httpx2.Client(base_url=strict.url) as http:
        http.post("/_identities", json={"access_key": "AKIA1", "secret": "s", "policies": []})
        http.post("/_roles", json={"arn": "arn:aws:iam::222222222222:role/r", "trust": ["*"]})
        assert http.post("/_identities", json={"access_key": "AKIA1"}).status_code == 400
    logs = connect(strict, credentials=("AKIA1", "s"))
    assert refused(logs.describe_log_groups)[0] == "AccessDeniedException"


def test_an_unknown_path_lists_the_known_ones(http):
    answer = http.get("/_nothing")
    assert answer.status_code == 404
    assert "POST /_faults" in answer.json()["message"]
