"""The client of CloudWatch Logs: off the event loop, with bodies of our own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar

from auditflow.sinks._aws.session import AwsSession
from auditflow.sinks.aws_cloudwatch_sink.errors import Place, needs_new_credentials
from auditflow.sinks.aws_cloudwatch_sink.properties import CloudWatchProperties
from auditflow.sinks.aws_cloudwatch_sink.request import body, check, compress, refusals

T = TypeVar("T")


class LogsClient:
    """Calls the service in threads; what they raise is what botocore raises."""

    def __init__(self, properties: CloudWatchProperties) -> None:
        self._properties = properties
        self._threads = ThreadPoolExecutor(properties.max_in_flight, thread_name_prefix="cloudwatch")
        self._thread = threading.local()
        self.session = AwsSession(properties, "logs", properties.max_in_flight, self._add_hooks)

    def place(self, log_group: str, log_stream: str) -> Place:
        """Name what a fault's hint has to name."""
        return Place(self.session.region, log_group, log_stream, self._properties.role_arn or "")

    async def put(
        self, log_group: str, log_stream: str, times: Sequence[int], messages: Sequence[bytes]
    ) -> dict[int, str]:
        """Put chronological messages; gives index → code of those that were not taken."""

        def send(client: Any) -> dict[int, str]:
            self._thread.body = body(log_group, log_stream, times, messages)
            answer = client.put_log_events(logGroupName=log_group, logStreamName=log_stream, logEvents=[])
            return refusals(answer, len(messages))

        return await self.run(send)

    async def run(self, use: Callable[[Any], T]) -> T:
        """Call a function with the client; credentials are read again after a fault that this may fix."""
        return await self.in_thread(self._use, use)

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Close connections and threads; a request in flight ends by itself within its timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.session.close()

    def _use(self, use: Callable[[Any], T]) -> T:
        client = self.session.client()
        try:
            return use(client)
        except Exception as error:
            self.session.hide_credentials()
            if needs_new_credentials(error):
                self.session.renew(client)
            raise

    def _add_hooks(self, client: Any) -> None:
        """Let botocore sign and send our body in the place of its own, much slower one, and check its answers."""

        def replace_body(params: dict[str, Any], **_: object) -> None:
            params["body"] = self._thread.body
            if self._properties.compression == "gzip":
                params["body"] = compress(self._thread.body)
                params["headers"]["Content-Encoding"] = "gzip"

        def check_answer(response_dict: dict[str, Any], **_: object) -> None:
            if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES:
                check(response_dict["body"])

        client.meta.events.register("before-call.cloudwatch-logs.PutLogEvents", replace_body)
        client.meta.events.register("before-parse.cloudwatch-logs.PutLogEvents", check_answer)
