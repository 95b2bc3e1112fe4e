"""The server's own paths, by which another process drives and inspects it.

GET /_requests[?summary=1], /_counts, /_faults, /_events?group=…[&stream=…&account=…&region=…];
POST /_faults, /_identities, /_roles, /_reset; DELETE /_faults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from auditflow.testing.cloudwatch.faults import Fault
from auditflow.testing.cloudwatch.protocol import Answer

if TYPE_CHECKING:
    from auditflow.testing.cloudwatch.server import StrictCloudWatch
    from auditflow.testing.cloudwatch.sts.identities import Signed

_Action = Callable[["StrictCloudWatch", Mapping[str, str], Any], Any]


def answer(cloud: StrictCloudWatch, raw: Signed) -> Answer:
    """Serve a request to one of the server's own paths."""
    address = urlsplit(raw.path)
    action = _ACTIONS.get((raw.method, address.path))
    if action is None:
        listed = ", ".join(f"{method} {path}" for method, path in _ACTIONS)
        return _json(
            HTTPStatus.NOT_FOUND, {"message": f"There is no {raw.method} {address.path}; there are {listed}"}
        )
    try:
        given = json.loads(raw.body) if raw.body else {}
        return _json(HTTPStatus.OK, action(cloud, dict(parse_qsl(address.query)), given))
    except (ValueError, TypeError, LookupError) as error:
        return _json(HTTPStatus.BAD_REQUEST, {"message": str(error)})


def _requests(cloud: StrictCloudWatch, query: Mapping[str, str], _: Any) -> Any:
    if query.get("summary"):
        return cloud.summary()
    return {"requests": [asdict(request) for request in cloud.requests]}


def _counts(cloud: StrictCloudWatch, _: Mapping[str, str], __: Any) -> Any:
    return cloud.counts()


def _faults(cloud: StrictCloudWatch, _: Mapping[str, str], __: Any) -> Any:
    return {"faults": cloud.faults()}


def _events(cloud: StrictCloudWatch, query: Mapping[str, str], _: Any) -> Any:
    return {"events": [record._asdict() for record in cloud.events(**query)]}


def _add_faults(cloud: StrictCloudWatch, _: Mapping[str, str], given: Any) -> Any:
    wanted = [Fault.of(each) for each in (given if isinstance(given, list) else [given])]
    return {"faults": [asdict(cloud.fault(each)) for each in wanted]}


def _clear_faults(cloud: StrictCloudWatch, _: Mapping[str, str], __: Any) -> Any:
    cloud.clear_faults()
    return {"faults": []}


def _add_identity(cloud: StrictCloudWatch, _: Mapping[str, str], given: Any) -> Any:
    return {"arn": cloud.add_identity(**given).arn}


def _add_role(cloud: StrictCloudWatch, _: Mapping[str, str], given: Any) -> Any:
    return {"arn": cloud.add_role(**given).arn}


def _reset(cloud: StrictCloudWatch, _: Mapping[str, str], __: Any) -> Any:
    cloud.reset()
    return {"reset": True}


_ACTIONS: Final[Mapping[tuple[str, str], _Action]] = {
    ("GET", "/_requests"): _requests,
    ("GET", "/_counts"): _counts,
    ("GET", "/_faults"): _faults,
    ("GET", "/_events"): _events,
    ("POST", "/_faults"): _add_faults,
    ("DELETE", "/_faults"): _clear_faults,
    ("POST", "/_identities"): _add_identity,
    ("POST", "/_roles"): _add_role,
    ("POST", "/_reset"): _reset,
}


def _json(status: HTTPStatus, value: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), "application/json")
