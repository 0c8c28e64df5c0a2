from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from control_plane.tenants import key_format
from control_plane.tenants.models import ApiKey, AuditEvent
from control_plane.tenants.placements import generation_of
from tests.control_plane.tenant import Api, Tenant, api_with_role, make_tenant

ALPHABET = st.sampled_from(key_format.ALPHABET)


def test_a_new_key_is_shown_once_and_stored_as_an_hmac(alice: Tenant) -> None:
    answer = alice.api.post("/api/v1/api-keys", {"project_id": alice.project.id, "name": "laptop"})
    made = answer.json()
    text = made["key"]
    assert answer.status_code == 201
    assert key_format.public_id_of(text, "sls_live") == made["public_id"]
    stored = ApiKey.objects.filter(project=alice.project).get(pk=made["id"])
    assert stored.digest == key_format.digest(text, settings.SLIPSTREAM_KEY_PEPPER)
    assert text[-4:] == made["last_four"]
    shown = alice.api.get(f"/api/v1/api-keys/{made['id']}").content.decode()
    assert text not in shown
    assert "digest" not in shown
    assert text not in str(list(AuditEvent.objects.filter(organization=alice.organization).values()))


@given(st.integers(min_value=0, max_value=63), ALPHABET)
def test_one_wrong_letter_is_found_by_the_checksum(position: int, letter: str) -> None:
    text = key_format.mint("sls_live", "pepper").text
    position %= len(text)
    wrong = text[:position] + letter + text[position + 1 :]
    assert (key_format.public_id_of(wrong, "sls_live") is None) == (wrong != text)


def test_a_revoked_key_leaves_the_snapshot_and_stays_revoked(alice: Tenant) -> None:
    before = generation_of(alice.project.id)
    first = alice.api.delete(f"/api/v1/api-keys/{alice.api_key.id}").json()
    again = alice.api.delete(f"/api/v1/api-keys/{alice.api_key.id}").json()
    assert first["revoked_at"] is not None
    assert first["revoked_at"] == again["revoked_at"]
    assert generation_of(alice.project.id) == before + 1


def test_rotation_makes_a_successor_and_lets_the_old_key_run_out(alice: Tenant) -> None:
    answer = alice.api.post(f"/api/v1/api-keys/{alice.api_key.id}/rotate", {"overlap_seconds": 60})
    assert answer.status_code == 201
    assert answer.json()["key"] not in ("", None, alice.api_key_text)
    alice.api_key.refresh_from_db()
    assert timezone.now() < alice.api_key.expires_at < timezone.now() + timedelta(seconds=61)


def test_an_expiry_in_the_past_is_refused_by_name(alice: Tenant) -> None:
    body = {"project_id": alice.project.id, "name": "x", "expires_at": "2001-01-01T00:00:00Z"}
    answer = alice.api.post("/api/v1/api-keys", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/expires_at")


def test_a_revoked_or_expired_service_key_opens_nothing(alice: Tenant) -> None:
    owner = api_with_role(alice, "owner")
    assert alice.api.get("/api/v1/projects").status_code == 200
    owner.delete(f"/api/v1/service-keys/{alice.service_key.id}")
    answer = alice.api.get("/api/v1/projects")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("header", ["Bearer slm_x", "Basic abc", "Bearer", "Node a:b", "Bearer \x00"])
def test_what_is_no_key_is_not_authenticated(db: None, header: str) -> None:
    assert Api(authorization=header).get("/api/v1/projects").status_code == 401


def test_an_inference_key_does_not_manage(alice: Tenant) -> None:
    assert Api(alice.api_key_text).get("/api/v1/projects").status_code == 401


def test_scopes_narrow_a_key(alice: Tenant) -> None:
    api = api_with_role(alice, "owner", scopes=["endpoint:read"])
    assert len(api.get("/api/v1/endpoints").json()["data"]) == 1
    assert api.get("/api/v1/projects").json()["data"] == []
    assert api.get(f"/api/v1/projects/{alice.project.id}").status_code == 403


def test_nobody_makes_a_key_that_may_do_more_than_they_may(alice: Tenant) -> None:
    admin = api_with_role(alice, "admin")
    narrow = api_with_role(alice, "admin", scopes=["service_key:write"])
    body = {"organization_id": alice.organization.id, "name": "x"}
    assert admin.post("/api/v1/service-keys", body | {"role": "owner"}).status_code == 403
    assert narrow.post("/api/v1/service-keys", body | {"role": "developer"}).status_code == 403
    assert admin.post("/api/v1/service-keys", body | {"role": "developer"}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_keys_made_at_the_same_time_are_all_there_with_one_whole_audit_chain() -> None:
    from control_plane.tenants.audit import first_broken

    alice = make_tenant("alice")
    answers: list[Any] = []

    def create(number: int) -> None:
        body = {"project_id": alice.project.id, "name": f"key {number}"}
        answers.append(Api(alice.service_key_text).post("/api/v1/api-keys", body))
        connection.close()

    before = generation_of(alice.project.id)
    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({answer.json()["key"] for answer in answers}) == 8
    assert generation_of(alice.project.id) == before + 8
    assert first_broken(alice.organization.id) is None
