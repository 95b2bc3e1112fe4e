"""`/docs`: what can be called, as a plain page that loads nothing from anywhere; and `/`, which says where that is."""
# Tested in tests/api/test_ingest_app.py.

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse


def install(app: FastAPI) -> None:
    """Serve the page; the app must have been made without FastAPI's own, which load scripts from elsewhere."""

    @app.get("/", include_in_schema=False)
    def root() -> PlainTextResponse:
        about = app.openapi()["info"]
        return PlainTextResponse(
            f"{about['title']} {about['version']}: {about.get('summary', 'delivers to a sink now')}\n\n"
            "/docs              what can be called\n/openapi.json      the same, for tools\n"
            "/live, /ready      whether it works\n"
        )

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse("\n".join(_page(app.openapi())))


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
    yield '<p>The whole contract, for tools: <a href="/openapi.json">/openapi.json</a></p><dl>'
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<dt><code>{method.upper()} {escape(path)}</code></dt>"
            yield f"<dd>{escape(operation.get('summary', ''))}{_parameters(operation)}</dd>"
    yield "</dl></html>"


def _parameters(operation: dict[str, Any]) -> str:
    rows = [
        f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}) {escape(one.get('description', ''))}</li>"
        for one in operation.get("parameters", [])
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""
