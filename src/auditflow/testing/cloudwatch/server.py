"""`StrictCloudWatch`: the server as tests use it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from auditflow.testing.cloudwatch import control
from auditflow.testing.cloudwatch.faults import Fault
from auditflow.testing.cloudwatch.logs.state import Record
from auditflow.testing.cloudwatch.protocol import Answer
from auditflow.testing.cloudwatch.service import Service
from auditflow.testing.cloudwatch.sts.identities import DEFAULT_ACCOUNT, Identity, Role, Signed
from auditflow.testing.cloudwatch.sts.policy import Policy, load, trust_document
from auditflow.testing.cloudwatch.traffic import Request
from auditflow.testing.cloudwatch.wire import HttpServer

_POLL_SECONDS = 0.05


class StrictCloudWatch:
    """CloudWatch Logs and STS on a loopback port, holding every documented limit.

    Use it as a context manager, or call `start` and `stop`. Give `url` to clients as their endpoint for both
    services. State is kept per account and region; the region is that of the request's signature.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        counting: bool = False,
        tls_cert: str | Path | None = None,
        tls_key: str | Path | None = None,
    ) -> None:
        """Bind the port (0: a free one). Raises OSError when it is taken.

        clock: Unix time in seconds; tests may move it. counting: count the events of PutLogEvents and keep
        none. tls_cert, tls_key: PEM files.
        """
        self.clock = clock
        tls = None
        if tls_cert is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(tls_cert, tls_key)
        self._http = HttpServer(port, self._respond, tls)
        self._service = Service(clock, self._http.stopping.wait, counting=counting)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Accept requests, in threads of this process."""
        self._http.start()

    def stop(self) -> None:
        """Cut all connections and release the port."""
        self._http.stop()

    @property
    def url(self) -> str:
        """The endpoint, for `endpoint_url` or `AWS_ENDPOINT_URL`."""
        return self._http.url

    def _respond(self, raw: Signed) -> Answer | None:
        return control.answer(self, raw) if raw.path.startswith("/_") else self._service.answer(raw)

    # Who may call

    def add_identity(  # noqa: PLR0913 - a caller has that many parts, all named
        self,
        access_key: str,
        secret: str,
        *,
        account: str = DEFAULT_ACCOUNT,
        arn: str = "",
        policies: Iterable[Policy | str] | None = None,
        token: str = "",
        expires: float | None = None,
    ) -> Identity:
        """Register a caller; from then on unknown keys are refused and signatures are verified.

        policies: IAM policy documents, as mappings or JSON; None allows everything, an empty list nothing.
        token, expires: of session credentials; Unix time in seconds. Raises ValueError for a policy that
        needs more than the server evaluates.
        """
        arn = arn or f"arn:aws:iam::{account}:user/{access_key}"
        identity = Identity(access_key, secret, account, arn, _loaded(policies), token, expires)
        with self._service.changed:
            self._service.identities.registered[access_key] = identity
        return identity

    def add_role(
        self,
        arn: str,
        *,
        trust: Sequence[str] | Policy,
        external_id: str = "",
        policies: Iterable[Policy | str] | None = None,
    ) -> Role:
        """Register a role; from then on unknown roles cannot be assumed.

        trust: a trust policy, or the principals of one: ARNs of users, roles, account roots or OpenID
        providers. external_id: the sts:ExternalId that must be given, for a `trust` of principals.
        """
        document = trust_document(trust, external_id) if isinstance(trust, Sequence) else load(trust)
        role = Role(arn, document, _loaded(policies))
        with self._service.changed:
            self._service.identities.roles[arn] = role
        return role

    @property
    def session_lifetime(self) -> float | None:
        """Seconds that assumed credentials last, whatever DurationSeconds asks for; None: as asked."""
        return self._service.sts.session_lifetime

    @session_lifetime.setter
    def session_lifetime(self, seconds: float | None) -> None:
        self._service.sts.session_lifetime = seconds

    # What goes wrong

    def fault(self, kind: str | Fault, **members: Any) -> Fault:
        """Put a fault in force and give it back: its `hits` tells how often it has struck.

        The members are those of `Fault`: operation, group, stream, times, rate, seconds, retry_after, …
        """
        fault = kind if isinstance(kind, Fault) else Fault(kind, **members)
        with self._service.changed:
            return self._service.faults.add(fault)

    def clear_faults(self) -> None:
        """End all faults."""
        with self._service.changed:
            self._service.faults.clear()

    def faults(self) -> list[dict[str, Any]]:
        """Give the faults in force, as JSON."""
        with self._service.changed:
            return self._service.faults.listed()

    # What happened

    def events(
        self,
        group: str,
        stream: str | None = None,
        *,
        account: str = DEFAULT_ACCOUNT,
        region: str = "us-east-1",
    ) -> list[Record]:
        """Give what is stored in a group, or one stream of it, in order; empty when there is no such group."""
        with self._service.changed:
            found = self._service.region(account, region).groups.get(group)
            streams = found.streams.values() if found else ()
            return list(merge(*(each.records() for each in streams if stream in {None, each.name})))

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first; the last 100,000 of them."""
        with self._service.changed:
            return list(self._service.traffic.requests)

    def count(self, operation: str) -> int:
        """Tell how often an operation was requested, failures included."""
        with self._service.changed:
            return self._service.traffic.operations[operation]

    def counts(self) -> dict[str, Any]:
        """Give totals: requests, operations, outcomes, events, stored, bytes, wire_bytes, events_per_request."""
        with self._service.changed:
            return self._service.traffic.summary()

    def summary(self) -> dict[str, Any]:
        """Give the totals, and `groups`: how many events are stored in each stream."""
        with self._service.changed:
            traffic = self._service.traffic
            groups = [
                {"account": account, "region": region, "group": group, "stream": stream, "stored": stored}
                for (account, region, group, stream), stored in traffic.stored.items()
                if stored
            ]
            return traffic.summary() | {"groups": groups}

    def wait_for(
        self,
        condition: Callable[[], bool] | int,
        group: str = "",
        *,
        timeout: float = 10.0,
        account: str = DEFAULT_ACCOUNT,
        region: str = "us-east-1",
    ) -> None:
        """Wait until the condition holds, or until so many events have been stored in `group`.

        Raises TimeoutError after `timeout` seconds. Counts also in counting mode.
        """
        deadline = time.monotonic() + timeout
        while not self._holds(condition, group, account, region):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not within {timeout:g} s; the server saw {self.summary()}")
            with self._service.changed:
                self._service.changed.wait(min(left, _POLL_SECONDS))

    def _holds(self, condition: Callable[[], bool] | int, group: str, account: str, region: str) -> bool:
        if callable(condition):
            return condition()
        with self._service.changed:
            stored = self._service.traffic.stored.items()
            return condition <= sum(count for place, count in stored if place[:3] == (account, region, group))

    def reset(self) -> None:
        """Forget groups, events, requests and faults; identities, roles and sessions stay."""
        self._service.reset()


def _loaded(policies: Iterable[Policy | str] | None) -> tuple[Policy, ...] | None:
    return None if policies is None else tuple(load(policy) for policy in policies)
