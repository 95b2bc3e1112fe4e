"""Asks a running server, and says in our words what it or the way to it refuses."""

from typing import Any

from auditflow.cli._shared.access import ACCESS
from auditflow.errors import ServerRefuses, ServerUnreachable


def ask(url: str, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Make one call under `/api/v1` and give the answer's object; `options` are those of `httpx2.request`.

    Raises ServerRefuses with the server's own words, ServerUnreachable, AccessUnusable.
    """
    import httpx2

    from auditflow.client import is_loopback

    options |= {"headers": ACCESS.headers(), "verify": ACCESS.verify(), "trust_env": not is_loopback(url)}
    try:
        answer = httpx2.request(method, f"{url.rstrip('/')}/api/v1/{path}", timeout=30.0, **options)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ServerUnreachable(url=url, reason=str(error) or type(error).__name__) from None
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_error and isinstance(body, dict) and "message" in body:
        raise ServerRefuses(reason=str(body["message"]).rstrip("."), hint=body.get("hint", ""))
    if answer.is_error:
        raise ServerUnreachable(url=url, reason=f"it answers HTTP {answer.status_code}")
    if not isinstance(body, dict):
        raise ServerUnreachable(url=url, reason="something else answers there")
    return body
