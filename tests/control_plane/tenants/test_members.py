from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from control_plane.tenants import audit
from control_plane.tenants.models import ApiKey, AuditEvent, Membership
from tests.control_plane.tenant import Api, Tenant, api_with_role


def test_the_last_owner_stays(alice: Tenant) -> None:
    member = Membership.objects.get(organization=alice.organization, user=alice.user)
    path = f"/api/v1/organizations/{alice.organization.id}/members/{member.id}"
    assert alice.api.delete(path).json()["code"] == "last_owner"
    assert alice.api.patch(path, {"role": "viewer"}).json()["code"] == "last_owner"


def test_an_admin_neither_makes_nor_removes_owners(alice: Tenant) -> None:
    admin = api_with_role(alice, "admin")
    member = Membership.objects.get(organization=alice.organization, user=alice.user)
    invitations = f"/api/v1/organizations/{alice.organization.id}/invitations"
    assert admin.post(invitations, {"email": "dora@example.com", "role": "owner"}).status_code == 403
    assert admin.delete(f"/api/v1/organizations/{alice.organization.id}/members/{member.id}").status_code == 403


def test_a_session_needs_the_csrf_token_to_write(alice: Tenant) -> None:
    from django.test import Client

    session = Api()
    session.client = Client(enforce_csrf_checks=True)
    session.client.force_login(alice.user)
    assert session.get("/api/v1/projects").status_code == 200
    assert session.post("/api/v1/projects", {"organization_id": alice.organization.id, "name": "x"}).status_code == 403


def test_changes_are_audited_in_a_chain_that_shows_tampering(alice: Tenant) -> None:
    alice.api.patch(f"/api/v1/projects/{alice.project.id}", {"requests_per_minute": 5})
    event = AuditEvent.objects.filter(organization=alice.organization, action="project.update").get()
    assert event.changes == {"requests_per_minute": [None, 5]}
    assert event.actor == alice.service_key.id
    assert event.request_id.startswith("req_")
    assert audit.first_broken(alice.organization.id) is None


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_the_database_refuses_to_change_an_audit_event(alice: Tenant, verb: str) -> None:
    rows = AuditEvent.objects.filter(organization=alice.organization)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        rows.update(actor="nobody") if verb == "update" else rows.delete()


def test_a_key_can_not_be_stored_across_tenants(alice: Tenant, bob: Tenant) -> None:
    from django.db import connection

    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(project=alice.project).update(organization=bob.organization)
        connection.check_constraints()
