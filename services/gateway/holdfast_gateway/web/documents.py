"""`/docs`: the interface for people, made from /openapi.json on the server; and what each problem means.

No script and nothing from elsewhere: it reads the same offline, behind a strict policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Path
from starlette.responses import HTMLResponse, PlainTextResponse

from holdfast_gateway.web.problems import KINDS, NOT_FOUND, Problem

_STYLE: Final = """
:root{color-scheme:light dark;--p:#f6f5f1;--c:#fff;--i:#1b1e20;--s:#5f6468;--l:#e2dfd7;--a:#0e6660}
@media(prefers-color-scheme:dark){:root{--p:#131517;--c:#1b1e20;--i:#e9e7e2;--s:#9ea3a6;--l:#303437;--a:#4fb5ab}}
body{margin:0 auto;max-width:920px;padding:28px 18px 60px;background:var(--p);color:var(--i);
font:15px/1.55 ui-sans-serif,system-ui,"Segoe UI","DejaVu Sans",sans-serif}
h1{font-size:24px}h2{font-size:16px;font-family:ui-monospace,Menlo,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
section{background:var(--c);border:1px solid var(--l);border-radius:12px;padding:4px 18px 16px;margin:16px 0}
b.m{color:var(--a);margin-right:8px}p,td{overflow-wrap:anywhere}a{color:var(--a)}
table{width:100%;margin-top:14px;border-collapse:collapse;font-size:14px}td,th{text-align:left;vertical-align:top;
padding:5px 10px 5px 0;border-top:1px solid var(--l)}th{color:var(--s);font-weight:500}
code{font:13px ui-monospace,Menlo,monospace}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


def router(app: FastAPI) -> APIRouter:
    """`/docs` and `/problems/<slug>`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(_page(app.openapi()), headers=_HEADERS)

    @routes.get("/problems/{slug}")
    async def problem(slug: str = Path()) -> PlainTextResponse:
        kind = KINDS.get(slug)
        if kind is None:
            raise Problem(NOT_FOUND)
        return PlainTextResponse(f"{kind.status} {kind.title}\n\n{kind.remedy}\n")

    return routes


def _page(schema: dict[str, Any]) -> str:
    info = schema["info"]
    body = "".join(
        _operation(method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,'
        f'initial-scale=1"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f'<p>{escape(info.get("description", ""))}</p><p><a href="/openapi.json">openapi.json</a></p>{body}</html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f'<section><h2><b class="m">{method}</b>{escape(path)}</h2><p>{escape(operation.get("summary", ""))}</p>']
    if text := operation.get("description", "").strip():
        parts.append(_prose(text))
    if parameters := operation.get("parameters"):
        rows = "".join(_row(*_parameter(p)) for p in parameters)
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr>{rows}</table>")
    rows = "".join(
        _row(status, " ".join(answer.get("content", {})) or "empty", answer.get("description", ""))
        for status, answer in sorted(operation["responses"].items())
    )
    parts.append(f"<table><tr><th>status</th><th>body</th><th>meaning</th></tr>{rows}</table></section>")
    return "".join(parts)


def _prose(text: str) -> str:
    """The little Markdown that our own descriptions use: paragraphs, tables, `code`."""
    made: list[str] = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            head, _, *lines = [line.strip("| ").split(" | ") for line in block.splitlines()]
            titles = "".join(f"<th>{_inline(cell)}</th>" for cell in head)
            rows = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in line) + "</tr>" for line in lines)
            made.append(f"<table><tr>{titles}</tr>{rows}</table>")
        else:
            made.append(f"<p>{_inline(block)}</p>")
    return "".join(made)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _parameter(parameter: dict[str, Any]) -> Iterator[str]:
    schema = parameter["schema"]
    kinds = schema.get("anyOf", [schema])
    names = ["/".join(k["enum"]) if "enum" in k else str(k.get("type", "")) for k in kinds if k.get("type") != "null"]
    yield parameter["name"]
    yield parameter["in"]
    yield " or ".join(names)
    default = schema.get("default")
    shown = f" Default: {default}." if default not in (None, "") else ""
    yield parameter.get("description", schema.get("description", "")) + shown


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>"
