"""One shape of error for everything that can go wrong under /api."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from control_plane.common.problems import exception_handler, server_error_page
from tests.control_plane.tenant import Api, Tenant

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


def _is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.content
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert FIELDS <= set(body)
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == answer.headers["x-request-id"]


def test_every_refusal_is_a_problem(alice: Tenant) -> None:
    api = alice.api
    _is_problem(api.get("/api/v1/nothing-here"), 404, "not_found")
    _is_problem(api.get("/api/v1/projects/prj_1"), 404, "not_found")
    _is_problem(api.put("/api/v1/projects"), 405, "method_not_allowed")
    _is_problem(api.send("OPTIONS", "/api/v1/projects"), 405, "method_not_allowed")
    _is_problem(api.post("/api/v1/projects", "{"), 400, "parse_error")
    _is_problem(api.post("/api/v1/projects", "x" * ((1 << 20) + 1)), 413, "body_too_large")
    _is_problem(api.client.post("/api/v1/projects", {"name": "x"}), 415, "unsupported_media_type")
    _is_problem(Api().get("/api/v1/projects"), 401, "not_authenticated")
    _is_problem(api.get("/api/v1/projects?wrong=1"), 400, "invalid")
    _is_problem(Client(headers={"Host": "evil.example"}).get("/api/v1/projects"), 400, "bad_request")


def test_a_refused_method_says_which_there_are(alice: Tenant) -> None:
    assert alice.api.put("/api/v1/projects").headers["Allow"] == "GET, HEAD, POST"


def test_a_database_that_does_not_answer_is_a_503_that_says_when_to_come_back(rf: Any) -> None:
    request = rf.get("/api/v1/projects")
    request.request_id = "req_1"
    answer = exception_handler(OperationalError("connection refused"), {"request": request})
    assert answer is not None
    assert (answer.status_code, answer.data["code"], answer.headers["Retry-After"]) == (503, "unavailable", "2")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_down_is_a_503(settings: Any) -> None:
    client = Client(raise_request_exception=False, headers={"Authorization": "Bearer slm_1"})
    live = connection.settings_dict["PORT"]
    connection.close()
    try:
        connection.settings_dict["PORT"] = "9"
        answer = client.get("/api/v1/projects")
    finally:
        connection.settings_dict["PORT"] = live
        connection.close()
    _is_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "2"


def test_any_other_failure_outside_of_a_view_is_a_500_without_its_text(rf: Any) -> None:
    request = rf.get("/api/v1/projects")
    try:
        raise ValueError("secret")
    except ValueError:
        answer = server_error_page(request)
    assert answer.status_code == 500 and b"secret" not in answer.content
