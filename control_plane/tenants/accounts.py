"""How people's accounts behave: django-allauth's flows with our rules.

Addresses are verified before an account is good for anything: whoever signs up with somebody else's address gets
nothing, and nobody else can prepare an account for an address (pre-hijacking) that its owner later trusts.
"""

from __future__ import annotations

import base64

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.http import HttpRequest

from control_plane.common.addresses import client_address
from control_plane.tenants.models import User

# Where a session keeps the token of the invitation whose link was opened.
INVITATION = "invitation"


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Where sign-up is closed, for whoever follows an invitation: the browser's session holds its token since
        the link was opened; without a browser it comes as `X-Invitation-Token`."""
        from control_plane.tenants.invitations import find

        token = request.session.get(INVITATION) or request.headers.get("X-Invitation-Token", "")
        return settings.SLIPSTREAM_SIGN_UP == "open" or find(token) is not None

    def get_client_ip(self, request: HttpRequest) -> str:
        """What rate limits count by. A request that came around the proxies counts as its peer."""
        return client_address(request) or request.META["REMOTE_ADDR"]


class MfaAdapter(DefaultMFAAdapter):
    """Second factors' secrets are stored encrypted: a copy of the database alone yields no codes."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()


def has_second_factor(user_id: str) -> bool:
    return Authenticator.objects.filter(user_id=user_id, type=Authenticator.Type.TOTP).exists()


def has_verified(user: User, email: str) -> bool:
    """Whether the person has shown that mail to this address reaches them."""
    return EmailAddress.objects.filter(user=user, email=email.lower(), verified=True).exists()


def mark_verified(user: User) -> None:
    """For accounts that the service's operators make themselves: the address needs no code."""
    EmailAddress.objects.update_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})


def _cipher() -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"slipstream second factor").derive(
        settings.SECRET_KEY.encode()
    )
    return Fernet(base64.urlsafe_b64encode(derived))
