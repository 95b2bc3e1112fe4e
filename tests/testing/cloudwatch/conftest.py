import contextlib

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from auditflow.testing.cloudwatch import StrictCloudWatch

NOW = 1_795_000_000


class Clock:
    """Time that stands still until a test moves it: Unix seconds."""

    def __init__(self):
        self.seconds = float(NOW)

    def __call__(self):
        return self.seconds

    @property
    def ms(self):
        return int(self.seconds * 1000)


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def server(clock):
    with StrictCloudWatch(clock=clock) as cloud:
        yield cloud


@pytest.fixture
def cloud(server, clock):
    """A server shared by the module's tests, emptied for each; it knows no identities and no roles."""
    clock.seconds = float(NOW)
    server.reset()
    return server


@pytest.fixture
def strict(clock):
    """A server of the test's own, for identities and roles."""
    clock.seconds = float(NOW)
    with StrictCloudWatch(clock=clock) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def session():
    return boto3.Session(
        aws_access_key_id="AKIATEST", aws_secret_access_key="secret", region_name="us-east-1"
    )


def _client(session, cloud, service="logs", credentials=(), region="us-east-1", **config):
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return session.client(
        service,
        endpoint_url=cloud.url,
        region_name=region,
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}, **config),
        **dict(zip(names, credentials, strict=False)),
    )


@pytest.fixture
def connect(session):
    """Make boto3 clients that neither validate parameters nor retry."""
    with contextlib.ExitStack() as made:
        yield lambda *args, **given: made.enter_context(contextlib.closing(_client(session, *args, **given)))


@pytest.fixture(scope="module")
def module_logs(session, server):
    with contextlib.closing(_client(session, server)) as client:
        yield client


@pytest.fixture
def logs(cloud, module_logs):
    """A Logs client of the shared server."""
    return module_logs


@pytest.fixture
def stream(logs):
    """Keyword arguments that name a stream that exists."""
    names = {"logGroupName": "/audit", "logStreamName": "app"}
    logs.create_log_group(logGroupName="/audit")
    logs.create_log_stream(**names)
    return names


@pytest.fixture
def refused():
    """Call, expect an error answer, and give its code and message."""

    def call(operation, **given):
        with pytest.raises(ClientError) as caught:
            operation(**given)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    return call
