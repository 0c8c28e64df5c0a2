"""Programs: the account has the role, its keys narrow it, and either can be stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from control_plane.tenants.models import ApiKey, ServiceKey
from tests.control_plane.tenant import Api, Tenant, api_with_role

pytestmark = pytest.mark.django_db

KEYS, ACCOUNTS = "/api/v1/service-keys", "/api/v1/service-accounts"


def _account(tenant: Tenant, role: str = "developer") -> Any:
    body = {"organization_id": tenant.organization.id, "name": "deployer", "role": role}
    made = tenant.api.post(ACCOUNTS, body)
    assert made.status_code == 201, made.content
    return made.json()


def _key(tenant: Tenant, **body: Any) -> Any:
    return tenant.api.post(KEYS, {"organization_id": tenant.organization.id, "name": "key", **body})


def test_an_accounts_keys_have_its_role_and_stop_with_it(alice: Tenant) -> None:
    account = _account(alice, "viewer")
    keys = [_key(alice, service_account_id=account["id"]).json() for _ in range(2)]
    assert {(key["service_account_id"], key["role"]) for key in keys} == {(account["id"], "viewer")}
    apis = [Api(key["key"]) for key in keys]
    path = f"{ACCOUNTS}/{account['id']}"
    project = {"organization_id": alice.organization.id, "name": "x"}
    assert [api.post("/api/v1/projects", project).status_code for api in apis] == [403, 403]
    assert alice.api.patch(path, {"role": "admin"}).json()["role"] == "admin"
    assert apis[0].post("/api/v1/projects", project).status_code == 201
    assert alice.api.patch(path, {"disabled": True}).json()["disabled_at"]
    assert [api.get("/api/v1/projects").status_code for api in apis] == [401, 401]
    assert alice.api.post(f"{KEYS}/{keys[0]['id']}/rotate").json()["code"] == "key_not_live"
    assert alice.api.patch(path, {"disabled": False}).json()["disabled_at"] is None
    assert apis[1].get("/api/v1/projects").status_code == 200


def test_a_key_is_of_one_account_or_makes_its_own(alice: Tenant, bob: Tenant) -> None:
    for body in ({}, {"role": "viewer", "service_account_id": _account(alice)["id"]}):
        refused = _key(alice, **body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/role")
    assert _key(alice, service_account_id=_account(bob)["id"]).status_code == 404
    own = _key(alice, role="viewer").json()
    assert alice.api.get(f"{ACCOUNTS}/{own['service_account_id']}").json()["name"] == "key"


def test_nobody_makes_an_account_or_lifts_one_above_themselves(alice: Tenant) -> None:
    admin, narrow = api_with_role(alice, "admin"), api_with_role(alice, "admin", scopes=["service_key:write"])
    body = {"organization_id": alice.organization.id, "name": "x", "role": "owner"}
    owners, admins = _account(alice, "owner"), _account(alice, "viewer")
    assert admin.post(ACCOUNTS, body).status_code == 403
    assert admin.patch(f"{ACCOUNTS}/{owners['id']}", {"disabled": True}).status_code == 403
    assert admin.patch(f"{ACCOUNTS}/{admins['id']}", {"role": "owner"}).status_code == 403
    for path, wanted in ((ACCOUNTS, body | {"role": "admin"}), (KEYS, body | {"role": "admin"})):
        assert narrow.post(path, wanted).status_code == 403
    assert narrow.patch(f"{ACCOUNTS}/{admins['id']}", {"role": "admin"}).status_code == 403
    assert narrow.post(f"{KEYS}/{alice.service_key.id}/rotate").status_code == 403, "not the owner's key"
    wide = _key(alice, role="admin").json()
    assert narrow.post(f"{KEYS}/{wide['id']}/rotate").status_code == 403


def test_a_rotated_service_key_may_do_the_same_and_the_old_one_runs_out(alice: Tenant) -> None:
    body = {"role": "admin", "scopes": ["project:read"], "allowed_ips": ["127.0.0.0/8"]}
    made = _key(alice, **body).json()
    rotated = alice.api.post(f"{KEYS}/{made['id']}/rotate", {"overlap_seconds": 60}).json()
    assert (rotated["scopes"], rotated["allowed_ips"], rotated["role"]) == (["project:read"], ["127.0.0.0/8"], "admin")
    assert {Api(key["key"]).get("/api/v1/projects").status_code for key in (made, rotated)} == {200}
    ServiceKey.objects.filter(organization=alice.organization, pk=made["id"]).update(expires_at=timezone.now())
    assert Api(made["key"]).get("/api/v1/projects").status_code == 401
    assert Api(rotated["key"]).get("/api/v1/projects").status_code == 200


def test_a_service_key_is_good_from_its_networks_alone(alice: Tenant, settings: Any) -> None:
    here, elsewhere = (
        _key(alice, role="viewer", allowed_ips=[net]).json()["key"] for net in ("127.0.0.1", "10.0.0.0/8")
    )
    assert Api(here).get("/api/v1/projects").status_code == 200
    assert Api(elsewhere).get("/api/v1/projects").status_code == 401
    assert Api(elsewhere).get("/api/v1/projects", X_Forwarded_For="10.0.0.1").status_code == 401
    settings.SLIPSTREAM_TRUSTED_PROXIES = 1
    assert Api(elsewhere).get("/api/v1/projects", X_Forwarded_For="10.0.0.1").status_code == 200
    assert Api(here).get("/api/v1/projects", X_Forwarded_For="127.0.0.1, 10.0.0.1").status_code == 401


@pytest.mark.parametrize("network", ["", "nonsense", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;drop", "*"])
def test_what_is_no_network_is_named(alice: Tenant, network: str) -> None:
    body = {"project_id": alice.project.id, "name": "x", "allowed_ips": ["10.0.0.0/8", network]}
    refused = alice.api.post("/api/v1/api-keys", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/allowed_ips/1")


def test_an_api_key_keeps_what_it_is_for_through_rotation(alice: Tenant) -> None:
    ends = datetime.now(UTC) + timedelta(days=30)
    body = {
        "project_id": alice.project.id,
        "name": "narrow",
        "scopes": ["inference:read"],
        "endpoints": ["assistant"],
        "allowed_ips": ["192.0.2.0/24", "2001:db8::/32"],
        "expires_at": ends.isoformat(),
    }
    made = alice.api.post("/api/v1/api-keys", body).json()
    rotated = alice.api.post(f"/api/v1/api-keys/{made['id']}/rotate", {"overlap_seconds": 0}).json()
    for name in ("scopes", "endpoints", "allowed_ips"):
        assert made[name] == rotated[name] == body[name]
    kept = ApiKey.objects.filter(project=alice.project).get(pk=rotated["id"])
    assert abs(kept.expires_at - ends) < timedelta(minutes=1), "it lives as long as the one before was made for"


def test_a_key_can_not_be_stored_under_another_tenants_account(alice: Tenant, bob: Tenant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        rows = ServiceKey.objects.filter(organization=alice.organization)
        rows.update(account=bob.service_key.account_id)
        connection.check_constraints()
