"""From the bytes of a request to the answer: decode, identify, let faults strike, carry out, note."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from auditflow.testing.cloudwatch.faults import ERRORS, HOSTILE, Fault, Faults
from auditflow.testing.cloudwatch.logs import search
from auditflow.testing.cloudwatch.logs import service as logs
from auditflow.testing.cloudwatch.logs.state import Given, Region
from auditflow.testing.cloudwatch.protocol import Answer, ServiceError, failure, success
from auditflow.testing.cloudwatch.sts.identities import Identities, Identity, Signed, authorize, scope_of
from auditflow.testing.cloudwatch.sts.service import UNSIGNED, Sts, simulate_principal_policy
from auditflow.testing.cloudwatch.traffic import Request, Traffic

_gunzip: Callable[[bytes], bytes]
_NO_GZIP: tuple[type[Exception], ...]
try:
    from isal import igzip, igzip_lib  # a third of the time: benchmarks share the machine with this server
except ImportError:
    import gzip
    import zlib

    _gunzip, _NO_GZIP = gzip.decompress, (OSError, EOFError, zlib.error)
else:
    _gunzip = igzip.decompress
    _NO_GZIP = (OSError, EOFError, igzip_lib.IsalError)  # type: ignore[assignment] # its stub has an instance here

_TARGET: Final = "Logs_20140328."


class NoAnswer(Exception):
    """The connection is to be reset instead of an answer."""


class Service:
    """CloudWatch Logs, STS and a little of IAM, without the HTTP around them."""

    def __init__(
        self, clock: Callable[[], float], pause: Callable[[float], object], *, counting: bool = False
    ) -> None:
        self.clock = clock
        self.pause = pause
        """Waits for so many seconds, or until the server stops."""
        self.counting = counting
        self.identities = Identities(clock)
        self.sts = Sts(self.identities)
        self.faults = Faults()
        self.traffic = Traffic()
        self.regions: dict[tuple[str, str], Region] = {}
        self.changed = threading.Condition(threading.RLock())
        """Guards all state; notified after every request."""

    def region(self, account: str, name: str) -> Region:
        """Give the state of an account in a region."""
        place = (account, name)
        if place not in self.regions:
            self.regions[place] = Region(account, name, self.clock)
        return self.regions[place]

    def reset(self) -> None:
        """Forget groups, requests and faults; identities, roles and sessions stay."""
        with self.changed:
            self.regions.clear()
            self.faults.clear()
            self.traffic = Traffic()

    def answer(self, raw: Signed) -> Answer | None:
        """Serve one request and note it; None: reset the connection."""
        request = Request(self.clock(), wire_bytes=len(raw.body))
        traffic = self.traffic  # of its arrival: a request that hangs over a reset is not counted after it
        answer: Answer | None = None
        try:
            answer = self._serve(raw, request)
            request.outcome = request.outcome or "ok"
        except ServiceError as error:
            answer = failure(request.service, error)
            request.outcome = error.code
        except NoAnswer:
            request.outcome = "reset"
        request.status = answer.status if answer is not None else 0
        with self.changed:
            traffic.note(request)
            self.changed.notify_all()
        return answer

    def _serve(self, raw: Signed, request: Request) -> Answer:
        body = _inflated(raw)
        given = self._read(raw, body, request)
        caller = self._identify(raw, request)
        with self.changed:
            struck = self.faults.strike(request)
        if "hang" in struck:
            self.pause(struck["hang"].seconds)
        if "reset" in struck:
            raise NoAnswer
        error = next((fault for kind, fault in struck.items() if kind in ERRORS), None)
        if error is not None and error.kind != "already-accepted":
            raise self._on_demand(error, given, request)
        for kind in HOSTILE.keys() & struck.keys():
            request.outcome = kind
            return replace(HOSTILE[kind], status=struck[kind].status or HOSTILE[kind].status)
        with self.changed:
            result = self._perform(caller, body, given, request, empty="empty-page" in struck)
        if error is not None:
            raise self._on_demand(error, given, request)
        if "reset-after" in struck:
            raise NoAnswer
        answer = success(request.service, request.operation, result)
        answer.drip = struck["drip"].seconds if "drip" in struck else 0.0
        answer.cut = "cut" in struck
        if "undecodable" in struck:
            answer.headers["Content-Encoding"] = "gzip"
        return answer

    def _read(self, raw: Signed, body: bytes, request: Request) -> Given:
        """Decode the parameters, and note what they are about."""
        target = raw.headers.get("x-amz-target", "")
        if not target and raw.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
            request.operation = form.get("Action", "")
            request.service = "sts" if request.operation == UNSIGNED else scope_of(raw.headers).service
            return form
        request.service = "logs"
        request.operation = target.removeprefix(_TARGET) if target.startswith(_TARGET) else ""
        counted = self.counting and request.operation == "PutLogEvents"
        given = logs.names_in(body) if counted else _decoded(body)
        request.group = logs.named_group(given)
        request.stream = str(given.get("logStreamName", ""))
        return given

    def _identify(self, raw: Signed, request: Request) -> Identity | None:
        if request.operation == UNSIGNED:
            return None
        scope = scope_of(raw.headers)
        if scope.service != request.service:
            raise ServiceError(
                "InvalidSignatureException",
                f"Credential should be scoped to correct service: '{request.service}'.",
            )
        with self.changed:
            caller = self.identities.caller(scope, raw)
        request.region, request.account, request.identity = scope.region, caller.account, caller.arn
        return caller

    def _perform(
        self, caller: Identity | None, body: bytes, given: Given, request: Request, *, empty: bool
    ) -> Mapping[str, Any]:
        if caller is None or request.service == "sts":
            return self.sts.call(request.operation, caller, given)
        if request.service == "iam":
            return self._simulate(caller, given, request)
        region = self.region(caller.account, request.region)
        if empty:
            return search.empty_page(region, given)
        if self.counting and request.operation == "PutLogEvents":
            return logs.count(region, caller, body, given, request)
        return logs.perform(region, caller, given, request)

    def _simulate(self, caller: Identity, form: Given, request: Request) -> Mapping[str, Any]:
        if request.operation != "SimulatePrincipalPolicy":
            raise ServiceError("UnknownOperationException", f"Could not find operation {request.operation}")
        authorize(caller, "iam:SimulatePrincipalPolicy", [form.get("PolicySourceArn", "")])
        return simulate_principal_policy(self.identities, form)

    def _on_demand(self, fault: Fault, given: Given, request: Request) -> ServiceError:
        region = self.region(request.account, request.region)
        facts = {
            "identity": request.identity,
            "action": f"{request.service}:{request.operation}",
            "arn": region.arn(f"log-group:{request.group}"),
            "resource": region.arn(f"log-group:{request.group}:log-stream:{request.stream}"),
        }
        if request.service == "sts":
            facts["resource"] = str(given.get("RoleArn", "*"))
        return fault.error(facts)


def _inflated(raw: Signed) -> bytes:
    encoding = raw.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return raw.body
    if encoding != "gzip":
        raise ServiceError("SerializationException", f"Unsupported Content-Encoding: {encoding}")
    try:
        return _gunzip(raw.body)
    except _NO_GZIP as error:
        raise ServiceError("SerializationException", f"The body is not gzip: {error}") from error


def _decoded(body: bytes) -> Given:
    try:
        given = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ServiceError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ServiceError("SerializationException", "The body is not a JSON object.")
    return given


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
