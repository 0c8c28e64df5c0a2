"""The examples in the OpenAPI document are requests and answers that really were: recorded here, and checked against
their schemas.

    SLIPSTREAM_RECORD=1 pytest tests/control_plane/test_examples.py     # then generate document and client again

Ids, moments and secrets are replaced by fixed ones, so that recording twice gives the same file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from control_plane.common.examples import FILE, recorded
from control_plane.fleet.models import Node
from control_plane.fleet.placement import place_all
from control_plane.fleet.registration import create_token
from control_plane.speculators.services import ensure_speculator, promote
from control_plane.tenants.models import Membership
from tests.control_plane import learning
from tests.control_plane.node import FakeNode, sequenced, usage_event
from tests.control_plane.openapi import PREFIX, document, resolve, route_of
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.tenants.people import make_person, sign_in
from tests.control_plane.test_isolation import ROUTES, ListRoute, ObjectRoute

pytestmark = pytest.mark.django_db

RECORDING = os.environ.get("SLIPSTREAM_RECORD") == "1"
# Not JSON about anything, or never successful for who records: with the reason.
WITHOUT = {
    "accept_invitation": "needs the token of a mail",
    "export_audit_events": "answers with a file",
}
QUERIES = {
    "usage": "group_by=day,endpoint&start=2026-03-01T00:00:00Z&end=2026-04-01T00:00:00Z",
    "statements": "month=2026-03",
}
# Of operations that the isolation tests have no body for.
_BODIES = {
    (f"{PREFIX}organizations", "POST"): {"name": "Dora Ltd"},
    (f"{PREFIX}node-tokens", "POST"): {"node_name": "node-2", "valid_seconds": 3600},
    (f"{PREFIX}prices", "POST"): {
        "model": "tiny-llama",
        "effective_from": "2036-01-01T00:00:00Z",
        "prompt": 20_000,
        "cached": 5_000,
        "completion": 60_000,
    },
}
_LETTERS = "0-9a-hjkmnp-tv-z"
_ID = re.compile(rf"\b([a-z]{{2,4}})_[0-7][{_LETTERS}]{{25}}")
_MOMENT = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_KEY = re.compile(r"\b(sls_live|sls_test|slm|sln|sli)_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
_HEX = re.compile(r"\b[0-9a-f]{64}\b")
_SECRET = re.compile(r"\bwhsec_[0-9A-Za-z+/=]+")
_PUBLIC_ID, _LAST_FOUR, _SIGNATURE = "3zTi9QbX0aLm", "7Kq2", re.compile(r"(X-Amz-[A-Za-z]+)=[^&\"]+")


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        if route_of(path) in ("schema", "docs"):
            continue
        for method, operation in methods.items():
            if operation["operationId"] not in WITHOUT:
                yield path, method.upper(), operation


def _success(operation: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """The status of the answer to a real request, and the schema of its JSON; None without one."""
    statuses = [status for status in operation["responses"] if status.startswith("2")]
    status = max(statuses)  # 200 beside 201 or 202 is the answer to a mere validation
    content = operation["responses"][status].get("content", {})
    return status, content.get("application/json", {}).get("schema")


def _problems(value: Any, schema: dict[str, Any]) -> list[str]:
    whole = {**schema, "components": document()["components"]}
    return [f"{error.json_path}: {error.message}"[:300] for error in Draft202012Validator(whole).iter_errors(value)]


OPERATIONS = pytest.mark.parametrize(
    ("path", "method", "operation"), [*_operations()], ids=lambda value: str(value)[:60]
)


@OPERATIONS
def test_every_operation_has_an_example_that_its_schema_allows(path: str, method: str, operation: Any) -> None:
    """A new operation: record it (see above)."""
    found = (_recorded_now() if RECORDING else recorded())[operation["operationId"]]
    status, schema = _success(operation)
    assert list(found["responses"]) == [status]
    if schema is not None:
        assert _problems(found["responses"][status], schema) == []
    wanted = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if wanted is not None:
        assert _problems(found["request"], resolve(wanted)) == []


def _fixed(value: Any) -> Any:
    text = json.dumps(value)
    text = _KEY.sub(rf"\1_{_PUBLIC_ID}_" + "x" * 34 + _LAST_FOUR, text)
    text = _SECRET.sub("whsec_" + "x" * 44, text)
    text = _ID.sub(r"\1_01kaxe8yv9w3m7r2t4c6d8f0gh", text)
    text = _MOMENT.sub("2026-03-05T10:00:00Z", text)
    text = _HEX.sub("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", text)
    text = _SIGNATURE.sub(r"\1=…", text)
    fixed = json.loads(text)
    return _named(fixed)


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        known = {"public_id": _PUBLIC_ID, "last_four": _LAST_FOUR}
        return {name: known.get(name) or _named(item) for name, item in value.items()}
    return [_named(item) for item in value[:1]] if isinstance(value, list) else value


class _Recorder:
    """Sends one real request for each operation."""

    def __init__(self, alice: Tenant, operator: Api) -> None:
        self._alice, self._operator = alice, operator

    def ask(self, path: str, method: str) -> tuple[Any, Any]:
        """The body that was sent, and the answer."""
        alice, route = self._alice, route_of(path)
        case, ids, body, headers = ROUTES[route], {}, None, {}
        if isinstance(case, ObjectRoute):
            ids, headers = case.ids(alice), case.headers
            body = case.bodies.get(method)
        elif isinstance(case, ListRoute):
            if method == "GET":
                case.prepare(alice)
            body = case.create(alice) if method == "POST" and case.create is not None else None
        api = alice.api if isinstance(case, (ObjectRoute, ListRoute)) or "model" in route else self._operator
        if (path, method) in _BODIES:
            body = _BODIES[path, method]
            api = sign_in(make_person("dora@example.com")) if route == "organizations" else self._operator
        if route == "cost-estimates":
            body = {"model": alice.endpoint.model_id, "requests": 1000, "prompt_tokens": 400, "completion_tokens": 80}
        ids = self._operators_ids(route) | ids
        self._prepare(path, method)
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
        query = QUERIES.get(route, "")
        return body, api.send(method, f"{path}?{query}", body, **headers) if method != "GET" else api.get(
            f"{path}?{query}", **headers
        )

    def _operators_ids(self, route: str) -> dict[str, str]:
        ids: dict[str, str] = {"model_id": self._alice.endpoint.model_id}
        if "node_id" in route or route in ("nodes", "capacity"):
            ids["node_id"] = (Node.objects.first() or Node.objects.get(pk=FakeNode().id)).id
        if "token_id" in route or route == "node-tokens":
            ids["token_id"] = create_token(actor="test")[0].id
        return ids

    def _prepare(self, path: str, method: str) -> None:
        """What makes the request succeed."""
        alice = self._alice
        if path.endswith("/rollback"):
            speculator = ensure_speculator(alice.project, alice.endpoint.model_id)
            learner = learning.Tenant(alice.project, alice.endpoint, speculator)
            for _ in range(2):
                promote(learning.make_version(learner), actor=alice.user.id)
        if "/members/" in path and method in ("PATCH", "DELETE"):
            other = make_person("olga@example.com")
            Membership.objects.create(organization=alice.organization, user=other, role="owner")
        if path in (f"{PREFIX}usage", f"{PREFIX}statements"):
            node = FakeNode("node-usage")
            node.send_usage(sequenced([usage_event(alice, 1)]))
        if path.endswith("/placements"):
            place_all()
        if path.endswith("/uncordon"):
            self._operator.post(path.replace("uncordon", "cordon").replace("{node_id}", Node.objects.get().id))


@pytest.fixture(autouse=RECORDING)
def _record(alice: Tenant, operator: Api, s3_settings: Any, request: pytest.FixtureRequest) -> None:
    """Only while recording: ask, and write down what was answered."""
    path, method, operation = (request.getfixturevalue(name) for name in ("path", "method", "operation"))
    body, answer = _Recorder(alice, operator).ask(path, method)
    status, schema = _success(operation)
    assert str(answer.status_code) == status, answer.content
    entry: dict[str, Any] = {"responses": {status: _fixed(answer.json()) if schema is not None else None}}
    if "requestBody" in operation:
        entry["request"] = _fixed(body if body is not None else {})
    written = _recorded_now()
    written[operation["operationId"]] = entry
    FILE.write_text(json.dumps(written, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _recorded_now() -> dict[str, Any]:
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}
