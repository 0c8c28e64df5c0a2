"""The OpenAPI document that the code generates now, for tests that must hold for every operation in it."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

PREFIX = "/api/v1/"


@cache
def document() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call,no-any-return]


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference."""
    while True:
        if "$ref" in schema:
            schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        elif len(schema.get("allOf", ())) == 1:
            schema = {name: value for name, value in schema.items() if name != "allOf"} | resolve(schema["allOf"][0])
        else:
            return schema


def route_of(path: str) -> str:
    """`/api/v1/endpoints/{endpoint_id}` -> `endpoints/<str:endpoint_id>`, as in the URLconf."""
    return path.removeprefix(PREFIX).replace("{", "<str:").replace("}", ">")


def list_routes() -> list[str]:
    """Routes whose GET answers with rows in `data`."""
    found = []
    for path, methods in document()["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        properties = resolve(content.get("application/json", {}).get("schema", {})).get("properties", {})
        if properties.get("data", {}).get("type") == "array":
            found.append(route_of(path))
    return sorted(found)
