"""How people join: a mailed token finds the invitation, a verified address accepts it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from control_plane.tenants.models import AuditEvent, Invitation, Membership, User
from tests.control_plane.tenant import Api, Tenant, api_with_role
from tests.control_plane.tenants.people import PASSWORD, code_in_mail, let_sudo_run_out, make_person, sign_in

pytestmark = pytest.mark.django_db

DORA = "dora@example.com"


@pytest.fixture(autouse=True)
def _mails_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the commit runs at once: a test's transaction never commits."""
    from django.db import transaction

    monkeypatch.setattr(transaction, "on_commit", lambda work, **_: work())


def _path(tenant: Tenant, rest: str = "") -> str:
    return f"/api/v1/organizations/{tenant.organization.id}/invitations{rest}"


def _invite(tenant: Tenant, email: str = DORA, role: str = "developer") -> Any:
    return tenant.api.post(_path(tenant), {"email": email, "role": role})


def _token() -> str:
    """The one in the newest mail."""
    found = re.search(r"/invitations/(\S+)", str(mail.outbox[-1].body))
    assert found is not None
    return found[1]


def _accept(api: Api, token: str) -> Any:
    return api.post("/api/v1/invitations/accept", {"token": token})


def _roles(tenant: Tenant) -> dict[str, str]:
    rows = Membership.objects.filter(organization=tenant.organization)
    return dict(rows.values_list("user__email", "role"))


def test_an_invited_person_joins_with_the_role(alice: Tenant) -> None:
    made = _invite(alice, "Dora@Example.com")
    assert (made.status_code, made.json()["state"], made.json()["email"]) == (201, "pending", DORA)
    assert mail.outbox[-1].to == [DORA] and _token() not in made.content.decode()
    api = sign_in(make_person(DORA))
    assert api.get("/api/v1/projects").json()["data"] == []
    joined = _accept(api, _token())
    assert (joined.status_code, joined.json()["role"]) == (201, "developer")
    assert [row["id"] for row in api.get("/api/v1/projects").json()["data"]] == [alice.project.id]
    assert alice.api.get(_path(alice)).json()["data"][0]["state"] == "accepted"
    actions = AuditEvent.objects.filter(organization=alice.organization).values_list("action", flat=True)
    assert {"invitation.create", "invitation.accept"} <= set(actions)
    assert _accept(api, _token()).status_code == 404, "it is used up"


def test_a_leaked_token_alone_opens_nothing(alice: Tenant, bob: Tenant) -> None:
    _invite(alice)
    other = sign_in(make_person("eve@example.com"))
    refused = _accept(other, _token())
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_address")
    assert alice.organization.name not in refused.content.decode()
    assert _accept(bob.api, _token()).status_code == 403, "keys join nothing"
    unverified = User.objects.create_user(DORA, PASSWORD)
    client = Api()
    client.client.force_login(unverified)
    assert _accept(client, _token()).status_code == 403, "the address was not shown to be theirs"
    assert _roles(alice) == {"alice@example.com": "owner"}


@pytest.mark.parametrize("token", ["", "x", "sli_" + "0" * 12 + "_" + "0" * 38, "slm_x", "\u00fc"])
def test_what_is_no_token_is_absent(alice: Tenant, token: str) -> None:
    _invite(alice)
    assert _accept(sign_in(make_person(DORA)), token).status_code in (400, 404)


def test_withdrawn_expired_and_replaced_invitations_open_nothing(alice: Tenant) -> None:
    first = _invite(alice).json()
    old, api = _token(), sign_in(make_person(DORA))
    assert alice.api.post(_path(alice, f"/{first['id']}/resend")).status_code == 200
    assert _token() != old and _accept(api, old).status_code == 404, "only the newest link works"
    rows = Invitation.objects.filter(organization=alice.organization)
    rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert _accept(api, _token()).status_code == 404
    assert alice.api.get(_path(alice, f"/{first['id']}")).json()["state"] == "expired"
    alice.api.post(_path(alice, f"/{first['id']}/resend"))
    for _ in range(2):
        assert alice.api.delete(_path(alice, f"/{first['id']}")).json()["state"] == "revoked"
    assert _accept(api, _token()).status_code == 404
    assert alice.api.post(_path(alice, f"/{first['id']}/resend")).json()["code"] == "invitation_closed"
    assert list(_roles(alice)) == ["alice@example.com"]


def test_one_open_invitation_for_each_address_and_none_for_members(alice: Tenant) -> None:
    _invite(alice)
    again = _invite(alice, "DORA@example.com")
    assert (again.status_code, again.json()["code"]) == (409, "invitation_exists")
    member = _invite(alice, "alice@example.com")
    assert (member.status_code, member.json()["code"]) == (409, "member_exists")


def test_nobody_invites_above_their_rank_or_with_a_stale_session(alice: Tenant) -> None:
    body = {"email": DORA, "role": "owner"}
    assert api_with_role(alice, "admin").post(_path(alice), body).status_code == 403
    assert api_with_role(alice, "developer").post(_path(alice), body | {"role": "viewer"}).status_code == 403
    person = make_person("olga@example.com")
    Membership.objects.create(organization=alice.organization, user=person, role="owner")
    api = sign_in(person)
    let_sudo_run_out(api)
    assert api.post(_path(alice), body).json()["code"] == "reauthentication_required"
    api.client.post("/account/confirm", {"password": PASSWORD})
    assert api.post(_path(alice), body).status_code == 201


def test_an_admin_can_not_send_or_withdraw_what_an_owner_gave(alice: Tenant) -> None:
    made, admin = _invite(alice, role="owner").json(), api_with_role(alice, "admin")
    assert admin.post(_path(alice, f"/{made['id']}/resend")).status_code == 403
    assert admin.delete(_path(alice, f"/{made['id']}")).status_code == 403


def test_an_account_for_an_invited_address_is_made_where_sign_up_is_closed(alice: Tenant, settings: Any) -> None:
    settings.SLIPSTREAM_SIGN_UP = "closed"
    _invite(alice)
    link, client = f"/invitations/{_token()}", Client()
    assert b"By invitation only" in client.get("/sign-up").content
    arrived = client.get(link, follow=True)
    assert alice.organization.name in arrived.content.decode() and arrived.request["PATH_INFO"] == "/join"
    client.post("/sign-up?next=/join", {"email": DORA, "password1": PASSWORD})
    client.post("/account/e-mail/verify", {"code": code_in_mail()})
    assert client.post("/join").headers["Location"] == "/"
    assert _roles(alice)[DORA] == "developer"
    assert b"By invitation only" in Client().get("/sign-up").content


def test_a_program_signs_up_with_the_invitation_where_sign_up_is_closed(alice: Tenant, settings: Any) -> None:
    settings.SLIPSTREAM_SIGN_UP = "closed"
    _invite(alice)
    body = {"email": DORA, "password": PASSWORD}
    token = _token()
    assert Api().post("/_allauth/app/v1/auth/signup", body).status_code == 403
    assert Api().post("/_allauth/app/v1/auth/signup", body, X_Invitation_Token=token).status_code == 401
    assert User.objects.filter(email=DORA).exists(), "its address is still to be verified"


def test_the_members_page_invites_sends_again_and_withdraws(alice: Tenant) -> None:
    person = make_person("olga@example.com")
    Membership.objects.create(organization=alice.organization, user=person, role="owner")
    client, page = sign_in(person).client, f"/organizations/{alice.organization.id}/members"
    assert client.post(page, {"action": "invite", "email": "nonsense", "role": "viewer"}).status_code == 400
    assert client.post(page, {"action": "invite", "email": DORA, "role": "viewer"}).status_code == 302
    first = _token()
    shown = client.get(page)
    assert DORA in shown.content.decode()
    made = Invitation.objects.get(organization=alice.organization)
    client.post(page, {"action": "resend", "invitation": made.id})
    assert _token() != first
    client.post(page, {"action": "revoke", "invitation": made.id})
    made.refresh_from_db()
    assert made.state == "revoked"
