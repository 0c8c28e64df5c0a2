"""People's accounts: signing up and in, verified addresses, second factors, rate limits."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client

from control_plane.tenants.models import AuditEvent, Membership, Organization, User
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.tenants.people import (
    PASSWORD,
    code_in_mail,
    decrypted,
    give_second_factor,
    let_sudo_run_out,
    make_person,
    sign_in,
    stored_secret,
    totp_code,
)

pytestmark = pytest.mark.django_db

SIGN_UP = {"email": "Dora@Example.com", "password1": PASSWORD}


def test_a_new_person_verifies_the_address_and_founds_an_organization() -> None:
    client = Client()
    assert client.post("/sign-up", SIGN_UP).headers["Location"].startswith("/account/e-mail/verify")
    assert client.get("/start").status_code == 302, "nobody is signed in before the address is verified"
    client.post("/account/e-mail/verify", {"code": code_in_mail()})
    user = User.objects.get(email="dora@example.com")
    assert client.get("/").headers["Location"] == "/start"

    answer = client.post("/start", {"name": "Dora Ltd", "project": "main"})
    organization = Organization.objects.get(memberships__user=user, id__in=_organizations(user))
    assert answer.headers["Location"] == f"/projects/{organization.projects.get().id}"
    assert Membership.objects.get(user=user).role == "owner"
    actions = AuditEvent.objects.filter(organization=organization).values_list("action", flat=True)
    assert list(actions.order_by("number")) == ["organization.create", "project.create"]


def _organizations(user: User) -> list[str]:
    return list(Membership.objects.filter(user=user).values_list("organization_id", flat=True))


def test_a_refused_project_leaves_no_organization_behind() -> None:
    api = sign_in(make_person("dora@example.com"))
    assert api.client.post("/start", {"name": "Dora Ltd", "project": " "}).status_code == 400
    assert not Organization.objects.unscoped().exists()


def test_a_wrong_code_opens_nothing_and_a_few_end_the_attempt() -> None:
    client = Client()
    client.post("/sign-up", SIGN_UP)
    for _ in range(3):
        client.post("/account/e-mail/verify", {"code": "WRONG1"})
    client.post("/account/e-mail/verify", {"code": code_in_mail()})
    assert client.get("/start").status_code == 302
    assert not EmailAddress.objects.filter(verified=True).exists()


def test_signing_up_with_a_taken_address_looks_the_same_and_tells_its_owner() -> None:
    make_person("dora@example.com")
    answer = Client().post("/sign-up", SIGN_UP)
    assert answer.headers["Location"].startswith("/account/e-mail/verify")
    assert User.objects.count() == 1
    assert "account" in str(mail.outbox[-1].body) and mail.outbox[-1].to == ["dora@example.com"]


def test_an_unverified_account_signs_in_to_nothing_but_the_verification(alice: Tenant) -> None:
    user = User.objects.create_user("dora@example.com", PASSWORD)
    Membership.objects.create(organization=alice.organization, user=user, role="viewer")
    client = Client()
    entered = client.post("/sign-in", {"login": user.email, "password": PASSWORD})
    assert entered.headers["Location"].startswith("/account/e-mail/verify")
    assert client.get("/api/v1/projects").status_code == 401


def test_closed_sign_up_makes_no_account(settings: Any) -> None:
    settings.SLIPSTREAM_SIGN_UP = "closed"
    page = Client().post("/sign-up", SIGN_UP)
    assert b"By invitation only" in page.content
    assert not User.objects.exists()


def test_a_forgotten_password_is_replaced_with_a_code_from_the_mail() -> None:
    user = make_person("dora@example.com")
    client = Client()
    client.post("/account/password/reset", {"email": user.email})
    client.post("/account/password/reset/code", {"code": code_in_mail()})
    fresh = "another long pass phrase"
    client.post("/account/password/reset/new", {"password1": fresh, "password2": fresh})
    user.refresh_from_db()
    assert user.check_password(fresh)


def test_failed_sign_ins_are_limited_for_all_processes_together() -> None:
    user = make_person("dora@example.com")
    for _ in range(5):
        Client().post("/sign-in", {"login": user.email, "password": "wrong"})
    page = Client().post("/sign-in", {"login": user.email, "password": PASSWORD})
    assert page.status_code == 200 and b"Too many failed login attempts" in page.content
    from django.db import connection

    with connection.cursor() as cursor:  # not in this process's memory
        cursor.execute("SELECT count(*) FROM slipstream_cache")
        assert cursor.fetchone()[0] > 0


# ------------------------------------------------------------------------------------------------------ second factor


def test_a_second_factor_is_asked_for_at_sign_in_and_stored_encrypted() -> None:
    user = make_person("dora@example.com")
    secret = give_second_factor(user)
    assert stored_secret(user) != secret and decrypted(stored_secret(user)) == secret
    client = Client()
    entered = client.post("/sign-in", {"login": user.email, "password": PASSWORD})
    assert entered.headers["Location"].startswith("/account/second-factor/authenticate")
    assert client.get("/account").status_code == 302
    client.post("/account/second-factor/authenticate/", {"code": totp_code(secret)})
    assert client.get("/account").status_code == 200


def test_setting_up_a_second_factor_in_the_browser_yields_recovery_codes() -> None:
    user = make_person("dora@example.com")
    api = sign_in(user)
    asked = api.client.get("/account/second-factor/totp/activate/")
    assert asked.headers["Location"].startswith("/account/confirm")
    api.client.post(asked.headers["Location"], {"password": PASSWORD})
    page = api.client.get("/account/second-factor/totp/activate/")
    secret = page.context["form"].secret
    assert secret in page.content.decode()
    api.client.post("/account/second-factor/totp/activate/", {"code": totp_code(secret)})
    assert decrypted(stored_secret(user)) == secret
    codes = api.client.get("/account/second-factor/recovery-codes/")
    assert codes.status_code == 200 and len(codes.context["unused_codes"]) == 10


def test_an_organization_can_require_a_second_factor_of_its_members(alice: Tenant) -> None:
    member = make_person("dora@example.com")
    Membership.objects.create(organization=alice.organization, user=member, role="admin")
    api = sign_in(member)
    path = f"/api/v1/projects/{alice.project.id}"
    assert api.get(path).status_code == 200
    switched = alice.api.patch(f"/api/v1/organizations/{alice.organization.id}", {"requires_second_factor": True})
    assert switched.json()["requires_second_factor"] is True

    assert api.get(path).status_code == 404
    assert api.get("/api/v1/organizations").json()["data"] == []
    refused = api.get(f"/api/v1/organizations/{alice.organization.id}")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    page = api.client.get(f"/projects/{alice.project.id}")
    assert page.status_code == 404 and b"second factor" in page.content and b"alice" not in page.content
    assert alice.api.get(path).status_code == 200, "keys have no second factor"

    give_second_factor(member)
    assert api.get(path).status_code == 200


def test_only_an_owner_who_has_a_second_factor_requires_one(alice: Tenant) -> None:
    admin, owner = make_person("dora@example.com"), make_person("olga@example.com")
    Membership.objects.create(organization=alice.organization, user=admin, role="admin")
    Membership.objects.create(organization=alice.organization, user=owner, role="owner")
    path, body = f"/api/v1/organizations/{alice.organization.id}", {"requires_second_factor": True}
    assert sign_in(admin).patch(path, body).json()["code"] == "forbidden"
    as_owner = sign_in(owner)
    assert as_owner.patch(path, body).json()["code"] == "second_factor_missing"
    give_second_factor(owner)
    let_sudo_run_out(as_owner)
    assert as_owner.patch(path, body).json()["code"] == "reauthentication_required"
    as_owner.client.post("/account/confirm", {"password": PASSWORD})
    assert as_owner.patch(path, body).status_code == 200


# ------------------------------------------------------------------------------------------------- without a browser


def test_an_account_is_made_and_used_without_a_browser() -> None:
    api = Api()
    base = "/_allauth/app/v1/auth"
    started = api.post(f"{base}/signup", {"email": "dora@example.com", "password": PASSWORD})
    assert started.status_code == 401, "verification is pending"
    token = started.json()["meta"]["session_token"]
    verified = api.post(f"{base}/email/verify", {"key": code_in_mail()}, X_Session_Token=token)
    assert verified.status_code == 200, verified.content
    token = verified.json()["meta"].get("session_token", token)
    made = api.post("/api/v1/organizations", {"name": "Dora Ltd"}, X_Session_Token=token)
    assert made.status_code == 201, made.content
    assert api.get("/api/v1/organizations", X_Session_Token=token).json()["data"][0]["id"] == made.json()["id"]


@pytest.mark.parametrize("token", ["x" * 32, "", "\x00", "ü", "a" * 5000])
def test_what_is_no_session_token_is_not_authenticated(token: str) -> None:
    assert Api().get("/api/v1/projects", X_Session_Token=token).status_code == 401
