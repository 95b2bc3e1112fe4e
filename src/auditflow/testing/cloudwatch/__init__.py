"""A strict CloudWatch Logs and STS server for tests.

It holds every documented limit, reports rejected events the way the service does, and fails on demand.
Start it in the test process (`with StrictCloudWatch() as cloud: …`) or on its own
(``python -m auditflow.testing.cloudwatch --port 4580``). See docs/testing.md.
"""

from auditflow.testing.cloudwatch.faults import Fault
from auditflow.testing.cloudwatch.logs.state import Record
from auditflow.testing.cloudwatch.server import StrictCloudWatch
from auditflow.testing.cloudwatch.traffic import Request

__all__ = ["Fault", "Record", "Request", "StrictCloudWatch"]
