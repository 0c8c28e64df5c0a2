"""How the OpenAPI document is made from the views."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating a POST with the same key and body replays its answer.",
    "schema": {"type": "string", "maxLength": 255},
}


class ApiSchema(AutoSchema):
    """Query parameters come from the view's `queries`, the tag from the first part of the path."""

    def get_override_parameters(self) -> list[Any]:
        query = getattr(self.view, "queries", {}).get(self.method.lower())
        return [query] if query else []

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0]]


def only_management_paths(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The public document describes /api/v1; nodes' own paths are described by `dataplane/contracts.py`."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def add_common_parts(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation can answer with a problem; every POST takes an idempotency key."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in result["paths"].values():
        for method, operation in operations.items():
            operation["responses"]["default"] = {"description": "An error.", "content": content}
            if method == "post":
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return result
