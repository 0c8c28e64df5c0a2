from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from slipstream_client import ConnectionFailed, Slipstream
from slipstream_client.errors import Conflict, InvalidRequest, NotFound, RateLimited, ServiceFailed
from slipstream_client.models import NameBodyRequest, PatchedOrganizationUpdateRequest

Handler = Callable[[httpx.Request], httpx.Response]


class Service:
    """Answers from a list, one by one, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> Slipstream:
        http = httpx.Client(transport=httpx.MockTransport(self))
        return Slipstream("slm_test", "http://slipstream.test", httpx_client=http, sleep=self.slept.append)


def organization(name: str = "acme", **fields: Any) -> dict[str, Any]:
    created = "2026-01-01T00:00:00Z"
    return {"id": "org_1", "name": name, "requires_second_factor": False, "created_at": created, **fields}


def page(*items: dict[str, Any], next_cursor: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"data": items, "has_more": bool(next_cursor), "next_cursor": next_cursor})


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "detail": "No.", "request_id": "req_1", "errors": [{"pointer": "/name", "code": code}]}
    return httpx.Response(status, json=body, headers=headers)


def test_a_refused_request_is_repeated_when_the_service_says_so() -> None:
    service = Service(problem(429, "rate_limited", **{"retry-after": "7"}), page(organization()))
    assert service.client().list_organizations().data[0].name == "acme"
    assert service.slept == [7.0]


def test_a_retry_after_of_more_than_a_minute_is_left_to_the_caller() -> None:
    service = Service(problem(429, "rate_limited", **{"retry-after": "3600"}))
    with pytest.raises(RateLimited) as refused:
        service.client().list_organizations()
    assert refused.value.retry_after == 3600.0
    assert service.slept == []


def test_a_repeated_post_carries_the_same_idempotency_key() -> None:
    lost = httpx.ReadError("the connection broke")
    service = Service(lost, problem(409, "idempotency_in_progress"), httpx.Response(201, json=organization()))
    assert service.client().create_organization(body=NameBodyRequest(name="acme")).id == "org_1"
    keys = {request.headers["Idempotency-Key"] for request in service.requests}
    assert len(service.requests) == 3
    assert len(keys) == 1


def test_two_posts_carry_two_idempotency_keys_unless_the_caller_names_one() -> None:
    service = Service(*(httpx.Response(201, json=organization()) for _ in range(3)))
    client = service.client()
    for _ in range(2):
        client.create_organization(body=NameBodyRequest(name="acme"))
    client.create_organization(body=NameBodyRequest(name="acme"), idempotency_key="mine")
    keys = [request.headers["Idempotency-Key"] for request in service.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_patch_whose_answer_was_lost_is_not_repeated() -> None:
    """It may have been done, and then its own If-Match would be refused."""
    service = Service(httpx.ReadError("the connection broke"))
    with pytest.raises(ConnectionFailed):
        service.client().update_organization("org_1", body=PatchedOrganizationUpdateRequest(name="x"))
    assert len(service.requests) == 1


def test_four_attempts_and_then_the_error() -> None:
    service = Service(*(problem(503, "unavailable") for _ in range(4)))
    with pytest.raises(ServiceFailed):
        service.client().list_organizations()
    assert len(service.slept) == 3
    assert service.slept[0] < service.slept[1] < service.slept[2]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (404, NotFound), (409, Conflict), (412, Conflict), (500, ServiceFailed)],
)
def test_an_error_is_typed_and_names_the_field(status: int, kind: type[Exception]) -> None:
    service = Service(problem(status, "broken"))
    with pytest.raises(kind) as raised:
        service.client().list_organizations()
    error: Any = raised.value
    assert (error.status, error.code, error.request_id, error.errors[0].pointer) == (status, "broken", "req_1", "/name")


def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same() -> None:
    service = Service(httpx.Response(502, text="<html>bad gateway</html>"), httpx.Response(404, text="nothing here"))
    with pytest.raises(NotFound, match="http_404"):
        service.client().list_organizations()


def test_iterating_reads_every_page() -> None:
    service = Service(page(organization("a"), next_cursor="org_1"), page(organization("b")))
    assert [found.name for found in service.client().iterate_organizations(limit=1)] == ["a", "b"]
    assert [request.url.params.get("after") for request in service.requests] == [None, "org_1"]


def test_a_value_and_a_field_of_a_newer_service_are_kept() -> None:
    member = {
        "id": "mem_1",
        "organization_id": "org_1",
        "user_id": "usr_1",
        "email": "a@example.com",
        "name": "A",
        "role": "astronaut",
        "created_at": "2026-01-01T00:00:00Z",
        "shoe_size": 44,
    }
    found = Service(page(member)).client().list_members("org_1").data[0]
    assert found.role == "astronaut"
    assert found.to_dict()["role"] == "astronaut"
    assert found["shoe_size"] == 44
