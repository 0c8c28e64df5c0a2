"""Acts for which a person's session must have proved lately who it is: a borrowed browser is not enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.headless.internal.sessionkit import authenticate_by_x_session_token

from control_plane.tenants.models import Membership
from tests.control_plane.tenancy import footprint
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.tenants.people import PASSWORD, let_sudo_run_out, make_person, sign_in

pytestmark = pytest.mark.django_db

# Beside those of members and keys (tenants/), operators' (fleet/) and the second factor (tenants/test_accounts.py).
ACTS: dict[str, tuple[str, Callable[[Tenant], str], dict[str, str] | None]] = {
    "exporting traffic": ("GET", lambda t: f"/api/v1/projects/{t.project.id}/traffic-export", None),
    "deleting traffic": ("DELETE", lambda t: f"/api/v1/projects/{t.project.id}/traffic", None),
    "erasing an end user": (
        "POST",
        lambda t: f"/api/v1/projects/{t.project.id}/traffic-erasures",
        {"end_user": "jane"},
    ),
    "deleting an endpoint": ("DELETE", lambda t: f"/api/v1/endpoints/{t.endpoint.id}", None),
}
_each_act = pytest.mark.parametrize("act", ACTS)


def _send(api: Api, tenant: Tenant, act: str) -> Any:
    method, path, body = ACTS[act]
    return api.get(path(tenant)) if method == "GET" else api.send(method, path(tenant), body)


@pytest.fixture
def owner(alice: Tenant) -> Api:
    """A session of one of alice's owners, who signed in an hour ago."""
    user = make_person("olga@example.com")
    Membership.objects.create(organization=alice.organization, user=user, role="owner")
    api = sign_in(user)
    let_sudo_run_out(api)
    return api


@_each_act
def test_a_session_is_asked_once_more_who_it_is_and_nothing_happens_before(
    act: str, alice: Tenant, owner: Api, s3_settings: Any
) -> None:
    before = footprint(alice.organization.id)
    refused = _send(owner, alice, act)
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert footprint(alice.organization.id).differences(before) == {}
    assert owner.client.post("/account/confirm", {"password": PASSWORD}).status_code == 302
    assert _send(owner, alice, act).status_code in (200, 202)
    assert footprint(alice.organization.id).differences(before) != {}


@_each_act
def test_a_service_key_is_not_asked(act: str, alice: Tenant, s3_settings: Any) -> None:
    assert _send(alice.api, alice, act).status_code in (200, 202)


def test_starting_and_stopping_an_endpoint_needs_no_fresh_authentication(alice: Tenant, owner: Api) -> None:
    for act in ("stop", "start"):
        assert owner.post(f"/api/v1/endpoints/{alice.endpoint.id}/{act}").status_code == 202


def test_the_permission_is_checked_before_the_password_is_asked_for(alice: Tenant) -> None:
    user = make_person("victor@example.com")
    Membership.objects.create(organization=alice.organization, user=user, role="viewer")
    api = sign_in(user)
    let_sudo_run_out(api)
    for act in ACTS:
        assert _send(api, alice, act).json()["code"] == "forbidden"


def test_a_session_without_a_browser_authenticates_again_with_its_token(alice: Tenant) -> None:
    """What the curl walkthrough does: a fresh sign-up proved the address, not the password."""
    base, person = "/_allauth/app/v1/auth", make_person("tess@example.com")
    Membership.objects.create(organization=alice.organization, user=person, role="owner")
    api = Api()
    token = api.post(f"{base}/login", {"email": person.email, "password": PASSWORD}).json()["meta"]["session_token"]
    found = authenticate_by_x_session_token(token)
    assert found is not None
    session = found[1]
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()
    path = f"/api/v1/endpoints/{alice.endpoint.id}"
    assert api.delete(path, X_Session_Token=token).json()["code"] == "reauthentication_required"
    wrong = api.post(f"{base}/reauthenticate", {"password": "wrong"}, X_Session_Token=token)
    assert wrong.status_code == 400
    assert api.delete(path, X_Session_Token=token).status_code == 403
    assert api.post(f"{base}/reauthenticate", {"password": PASSWORD}, X_Session_Token=token).status_code == 200
    assert api.delete(path, X_Session_Token=token).status_code == 202
