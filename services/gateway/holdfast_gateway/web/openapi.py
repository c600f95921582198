"""What /openapi.json says beside what FastAPI sees by itself: event streams, problems, and no 422."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from holdfast_gateway.web.problems import MEDIA_TYPE, Kind

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "GET it for an explanation."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong here, and what to do about it."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["parameter", "detail"],
                "properties": {"parameter": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

_RETRY_AFTER: Final[dict[str, Any]] = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "required": False}
}


def problem_responses(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these problems, grouped by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        line = f"`{kind.slug}`: {kind.title}. {kind.remedy}"
        if kind.status in found:
            found[kind.status]["description"] += f"\n\n{line}"
            continue
        found[kind.status] = {
            "description": line,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if kind.status in (429, 503):
            found[kind.status]["headers"] = _RETRY_AFTER
    return found


def install(app: FastAPI, description: str) -> None:
    """Make `app.openapi()` truthful. The document is made once, when first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=description, routes=app.routes, tags=app.openapi_tags
            )
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas["Problem"] = _PROBLEM
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
