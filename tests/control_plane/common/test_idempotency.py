from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from control_plane.tenants.models import ApiKey, IdempotencyRecord, Membership, Organization, Project, ServiceKey
from control_plane.tenants.service_accounts import create_service_key
from tests.control_plane.tenant import Api, Tenant, make_tenant
from tests.control_plane.tenants.people import let_sudo_run_out, make_person, sign_in


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


def _person(alice: Tenant, role: str) -> tuple[Api, Membership]:
    user = make_person(f"{role}@example.com")
    membership = Membership.objects.create(organization=alice.organization, user=user, role=role)
    return sign_in(user), membership


def _invite(api: Api, alice: Tenant) -> Any:
    path = f"/api/v1/organizations/{alice.organization.id}/invitations"
    return api.post(path, {"email": "new@example.com", "role": "admin"}, Idempotency_Key="abc")


def _replays(answer: Any) -> bool:
    return bool(answer.headers.get("Idempotency-Replayed") == "true")


def test_whoever_was_demoted_gets_no_replay_and_whoever_left_sees_nothing(alice: Tenant) -> None:
    api, membership = _person(alice, "admin")
    first = _invite(api, alice)
    assert first.status_code == 201 and _replays(_invite(api, alice))
    for role in ("developer", "viewer"):
        Membership.objects.filter(organization=alice.organization, pk=membership.pk).update(role=role)
        refused = _invite(api, alice)
        assert (refused.status_code, refused.json()["detail"]) == (403, "This needs the permission member:write.")
        assert not _replays(refused) and "new@example.com" not in refused.content.decode()
    Membership.objects.filter(organization=alice.organization, pk=membership.pk).update(role="admin")
    assert _invite(api, alice).json() == first.json()
    Membership.objects.filter(organization=alice.organization, pk=membership.pk).delete()
    gone = _invite(api, alice)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


def test_a_replay_needs_the_rank_that_the_first_request_needed(alice: Tenant) -> None:
    """The permission stays; what the answer gave away is above the role that is left."""
    api, membership = _person(alice, "owner")
    path = f"/api/v1/organizations/{alice.organization.id}/invitations"
    body = {"email": "new@example.com", "role": "owner"}
    assert api.post(path, body, Idempotency_Key="abc").status_code == 201
    Membership.objects.filter(organization=alice.organization, pk=membership.pk).update(role="admin")
    assert api.post(path, body, Idempotency_Key="abc").status_code == 403


def test_a_replay_of_a_dangerous_act_needs_a_fresh_authentication_as_the_act_did(alice: Tenant) -> None:
    api, _ = _person(alice, "admin")
    assert _invite(api, alice).status_code == 201
    let_sudo_run_out(api)
    refused = _invite(api, alice)
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")


def test_a_replay_shows_nothing_before_a_second_factor_that_became_required(alice: Tenant) -> None:
    api, _ = _person(alice, "admin")
    assert _invite(api, alice).status_code == 201
    Organization.objects.filter(pk=alice.organization.pk).update(requires_second_factor=True)
    refused = _invite(api, alice)
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")


def test_a_key_that_was_narrowed_demoted_or_revoked_gets_no_replay(alice: Tenant) -> None:
    made, text = create_service_key(alice.organization, name="x", role="admin", principal=alice.principal)
    api = Api(text)
    body = {"project_id": alice.project.id, "name": "second"}
    assert api.post("/api/v1/api-keys", body, Idempotency_Key="abc").status_code == 201
    rows = ServiceKey.objects.filter(organization=alice.organization, pk=made.pk)
    rows.update(scopes=["api_key:read"])
    narrowed = api.post("/api/v1/api-keys", body, Idempotency_Key="abc")
    assert (narrowed.status_code, narrowed.json()["detail"]) == (403, "This needs the permission api_key:write.")
    rows.update(scopes=[])
    assert _replays(api.post("/api/v1/api-keys", body, Idempotency_Key="abc"))
    account = f"/api/v1/service-accounts/{made.account_id}"
    assert alice.api.patch(account, {"role": "viewer"}).status_code == 200
    assert api.post("/api/v1/api-keys", body, Idempotency_Key="abc").status_code == 403
    assert alice.api.delete(f"/api/v1/service-keys/{made.id}").status_code == 200
    assert api.post("/api/v1/api-keys", body, Idempotency_Key="abc").status_code == 401


def test_a_person_who_founded_an_organization_and_left_it_gets_no_replay(db: None) -> None:
    user = make_person("founder@example.com")
    api = sign_in(user)
    made = api.post("/api/v1/organizations", {"name": "mine"}, Idempotency_Key="abc")
    assert _replays(api.post("/api/v1/organizations", {"name": "mine"}, Idempotency_Key="abc"))
    Membership.objects.filter(organization=made.json()["id"]).delete()
    assert api.post("/api/v1/organizations", {"name": "mine"}, Idempotency_Key="abc").status_code == 404


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
