"""People who act in a browser or with a session token: through the real sign-up, sign-in and mail."""

from __future__ import annotations

import re
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail

from control_plane.tenants.accounts import mark_verified
from control_plane.tenants.models import User
from tests.control_plane.tenant import Api

PASSWORD = "a long enough pass phrase"


def code_in_mail() -> str:
    """The code in the newest mail."""
    found = re.search(r"^([A-Z0-9]{3,4}-?[A-Z0-9]{3,4})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert found, mail.outbox[-1].body
    return found[1]


def make_person(email: str, **values: Any) -> User:
    user = User.objects.create_user(email, PASSWORD, **values)
    mark_verified(user)
    return user


def sign_in(user: User) -> Api:
    """A client with the session of the sign-in page."""
    api = Api()
    answer = api.client.post("/sign-in", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302, answer.content
    return api


def let_sudo_run_out(api: Api) -> None:
    """As if the session had been idle for an hour."""
    session = api.client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()


def give_second_factor(user: User) -> str:
    """The secret of the person's authenticator app from now on."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def totp_code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def stored_secret(user: User) -> str:
    return str(Authenticator.objects.get(user=user, type="totp").data["secret"])


def decrypted(text: str) -> str:
    return str(get_adapter().decrypt(text))
