from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from control_plane.tenants.models import ApiKey, IdempotencyRecord, Project
from tests.control_plane.tenant import Api, Tenant, make_tenant


def test_a_repeated_post_has_one_effect_and_is_marked_as_replayed(alice: Tenant) -> None:
    body = {"organization_id": alice.organization.id, "name": "second"}
    first = alice.api.post("/api/v1/projects", body, Idempotency_Key="abc")
    again = alice.api.post("/api/v1/projects", body, Idempotency_Key="abc")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Project.objects.filter(organization=alice.organization, name="second").count() == 1


def test_another_body_under_the_same_key_is_refused(alice: Tenant) -> None:
    organization = alice.organization.id
    alice.api.post("/api/v1/projects", {"organization_id": organization, "name": "second"}, Idempotency_Key="abc")
    answer = alice.api.post(
        "/api/v1/projects", {"organization_id": organization, "name": "third"}, Idempotency_Key="abc"
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_belongs_to_its_caller(alice: Tenant, bob: Tenant) -> None:
    for tenant in (alice, bob):
        body = {"organization_id": tenant.organization.id, "name": "second"}
        assert tenant.api.post("/api/v1/projects", body, Idempotency_Key="abc").status_code == 201


def test_an_error_is_not_remembered(alice: Tenant) -> None:
    body = {"organization_id": alice.organization.id, "name": "main"}
    assert alice.api.post("/api/v1/projects", body, Idempotency_Key="abc").status_code == 409
    Project.objects.filter(organization=alice.organization, name="main").update(name="renamed")
    assert alice.api.post("/api/v1/projects", body, Idempotency_Key="abc").status_code == 201


def test_a_replay_never_shows_a_secret_again_nor_is_it_stored(alice: Tenant) -> None:
    body = {"project_id": alice.project.id, "name": "second"}
    first = alice.api.post("/api/v1/api-keys", body, Idempotency_Key="abc").json()
    again = alice.api.post("/api/v1/api-keys", body, Idempotency_Key="abc").json()
    assert first["key"].startswith("sls_live_")
    assert again == first | {"key": None}
    assert first["key"] not in str(list(IdempotencyRecord.objects.values()))


@pytest.mark.django_db(transaction=True)
def test_twins_that_run_at_the_same_time_have_one_effect() -> None:
    alice = make_tenant("alice")
    answers: list[Any] = []

    def create() -> None:
        api = Api(alice.service_key_text)
        answers.append(api.post("/api/v1/api-keys", {"project_id": alice.project.id, "name": "x"}, Idempotency_Key="k"))
        connection.close()

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert any(answer.status_code == 201 for answer in answers)
    assert ApiKey.objects.filter(project=alice.project, name="x").count() == 1
