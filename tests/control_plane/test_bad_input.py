"""Every field of every write, made wrong in every way: a 4xx whose pointer names the field, and nothing half-written.

The operations and their fields come from the OpenAPI schema that the code generates, so that a new field is tried
without being listed. The valid body that is spoilt comes from the route's case in test_isolation.py, or else is made
from the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection

from tests.control_plane.openapi import document, resolve, route_of
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.test_isolation import ABSENT, ROUTES, ListRoute, ObjectRoute

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1/"
WRITES = ("post", "put", "patch")
SAMPLES: dict[str, list[Any]] = {
    "string": ["x"],
    "integer": [7],
    "number": [0.5],
    "boolean": [True],
    "array": [["x"], [[]]],
    "object": [{"x": 1}],
    "null": [None],
}
TOO_LONG = "x" * 100_000
TOO_LARGE = 10**250
# Refused before any field is read: the whole body is no JSON that can be stored. The marker is replaced in the text.
UNREADABLE = {
    "NUL": '"a\\u0000b"',
    "lone surrogate": '"\\ud800"',
    "not finite": "1e999",
    "NaN": "NaN",
    "too many digits": "9" * 5000,
    "bottomless": "[" * 5000 + "]" * 5000,
}


@dataclass(frozen=True)
class Operation:
    """A write and its body's schema, resolved."""

    method: str
    route: str
    schema: dict[str, Any]

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        return {
            name: resolve(value)
            for name, value in self.schema.get("properties", {}).items()
            if not resolve(value).get("readOnly")
        }

    @property
    def required(self) -> list[str]:
        return list(self.schema.get("required", ()))


def _types(schema: dict[str, Any]) -> set[str]:
    """JSON types that the schema allows; integers are numbers."""
    schema = resolve(schema)
    choices = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if choices:
        return set().union(*(_types(choice) for choice in choices))
    if "enum" in schema and "type" not in schema:
        return {"null" if value is None else "string" for value in schema["enum"]}
    found = schema.get("type", list(SAMPLES))
    types = {found} if isinstance(found, str) else set(found)
    return types | {"integer"} if "number" in types else types


def _sample(schema: dict[str, Any]) -> Any:
    """Something that the schema allows."""
    schema = resolve(schema)
    if "enum" in schema:
        return schema["enum"][0]
    for choice in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        return _sample(choice)
    kind = min(_types(schema) - {"null"}, default="null")
    if kind == "string":
        return (
            "2030-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x" * max(1, schema.get("minLength", 1))
        )
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"array": [], "object": {}, "boolean": True}.get(kind)


def _operations() -> list[Operation]:
    found = []
    for path, methods in document()["paths"].items():
        for method in WRITES:
            content = methods.get(method, {}).get("requestBody", {}).get("content", {})
            if "application/json" in content:
                found.append(Operation(method, route_of(path), resolve(content["application/json"]["schema"])))
    return found


def _wrong_values(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    allowed = _types(schema)
    for kind, values in SAMPLES.items():
        if kind not in allowed:
            yield from ((f"a {kind}", value) for value in values)
    if allowed & {"string"}:
        yield "too long", TOO_LONG
    if allowed & {"integer", "number"}:
        yield "too large", TOO_LARGE
    if "integer" in allowed and "number" not in allowed:
        yield "a fraction", 1.5


def _everything() -> dict[str, tuple[int, str]]:
    """Number of rows and digest of every table but sessions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'django_session'")
        found = {}
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t")
            found[name] = cursor.fetchone()
        return found


@dataclass(frozen=True)
class Target:
    """Where a valid request would go, and its body."""

    api: Api
    path: str
    body: dict[str, Any]
    headers: dict[str, str]

    def send(self, method: str, body: Any) -> Any:
        return self.api.send(method, self.path, body, **self.headers)


def _target(operation: Operation, alice: Tenant, operator: Api) -> Target:
    case = ROUTES.get(operation.route)
    method = operation.method.upper()
    made = {name: _sample(schema) for name, schema in operation.fields.items() if name in operation.required}
    path = PREFIX + operation.route
    if isinstance(case, ObjectRoute) and method in case.bodies:
        for name, value in case.ids(alice).items():
            path = path.replace(f"<str:{name}>", value)
        return Target(alice.api, path, made | (case.bodies[method] or {}), case.headers)
    if isinstance(case, ListRoute) and case.create is not None:
        return Target(alice.api, path, made | case.create(alice), {})
    for name, value in (ABSENT | {"node_id": "node_" + "0" * 26}).items():
        path = path.replace(f"<str:{name}>", value)
    return Target(operator, path, made, {})


def _spoilt(operation: Operation, body: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What is wrong, the pointer that must be named, the body."""
    for name in operation.required:
        yield f"no {name}", f"/{name}", {key: value for key, value in body.items() if key != name}
    for name, schema in operation.fields.items():
        for what, value in _wrong_values(schema):
            yield f"{name} is {what}", f"/{name}", {**body, name: value}
    yield "an unknown field", "/surplus", {**body, "surplus": 1}


def _complaint(answer: Any, pointer: str | None) -> str | None:
    """What is wrong with the answer to a bad request."""
    if not 400 <= answer.status_code < 500 or answer.status_code == 429:
        return f"status {answer.status_code}: {answer.content[:300]!r}"
    if not answer.headers["Content-Type"].startswith("application/problem+json"):
        return f"content type {answer.headers['Content-Type']}"
    if answer.status_code == 404 and pointer is not None:
        return None  # an operator's path to an object that isn't there
    pointers = [error["pointer"] for error in answer.json().get("errors", ())]
    if pointer is not None and not any(found == pointer or found.startswith(pointer + "/") for found in pointers):
        return f"status {answer.status_code}, pointers {pointers}, not {pointer}: {answer.content[:300]!r}"
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operation" in metafunc.fixturenames:
        operations = _operations()
        metafunc.parametrize("operation", operations, ids=[f"{one.method}-{one.route}" for one in operations])


def test_bad_fields_are_named_and_nothing_is_written(operation: Operation, alice: Tenant, operator: Api) -> None:
    target = _target(operation, alice, operator)
    alice.api.get("/api/v1/organizations")  # notes that the key is used
    before = _everything()
    complaints = {}
    for what, pointer, body in _spoilt(operation, target.body):
        if complaint := _complaint(target.send(operation.method, body), pointer):
            complaints[what] = complaint
    assert not complaints, "\n".join(f"{what}: {complaint}" for what, complaint in complaints.items())
    assert _everything() == before


def test_bodies_that_are_no_json_are_refused(operation: Operation, alice: Tenant, operator: Api) -> None:
    target = _target(operation, alice, operator)
    alice.api.get("/api/v1/organizations")
    before = _everything()
    name = next(iter(operation.fields), "x")
    whole = json.dumps({**target.body, name: "MARKER"})
    bodies: dict[str, Any] = {what: whole.replace('"MARKER"', text) for what, text in UNREADABLE.items()}
    bodies |= {"a doubled key": f'{{"{name}": 1, "{name}": 1}}', "not UTF-8": b'{"x": "\xff"}', "cut off": whole[:-1]}
    bodies |= {what: json.dumps(value) for what, value in {"a list": [], "a string": "x", "a number": 7}.items()}
    complaints = {}
    for what, body in bodies.items():
        if complaint := _complaint(target.send(operation.method, body), None):
            complaints[what] = complaint
    assert not complaints, "\n".join(f"{what}: {complaint}" for what, complaint in complaints.items())
    assert _everything() == before
