"""Who is calling: a service key in `Authorization: Bearer slm_…`, or the dashboard's session (with CSRF)."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from allauth.headless.internal.sessionkit import authenticate_by_x_session_token
from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from control_plane.common.addresses import client_address
from control_plane.tenants import key_format
from control_plane.tenants.models import ServiceKey
from control_plane.tenants.principal import (
    Principal,
    principal_of_key,
    principal_of_session,
)
from dataplane.contracts import is_allowed_from

_BAD_KEY = "The key is unknown, revoked or expired, or may not be used from here."


class ServiceKeyAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Principal, ServiceKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise exceptions.AuthenticationFailed("The scheme must be Bearer.")
        public_id = key_format.public_id_of(text.strip(), "slm")
        rows = ServiceKey.objects.unscoped().select_related("account")
        key = rows.filter(public_id=public_id).first() if public_id else None
        expected = key_format.digest(text.strip(), settings.SLIPSTREAM_KEY_PEPPER)
        if key is None or not hmac.compare_digest(key.digest, expected) or not _opens(key, request):
            raise exceptions.AuthenticationFailed(_BAD_KEY)
        _touch(key)
        return principal_of_key(key), key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _opens(key: ServiceKey, request: Request) -> bool:
    """Whether the key is good now, its account too, and may be used from where the request comes."""
    is_enabled = key.is_live and key.account.disabled_at is None
    return is_enabled and is_allowed_from(client_address(request._request), tuple(key.allowed_ips))


def _touch(key: ServiceKey) -> None:
    """Note the use, at most once a minute: a read must not become a write each time."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    if key.last_used_at is None or now - key.last_used_at > timedelta(minutes=1):
        ServiceKey.objects.filter(stale, organization=key.organization_id, pk=key.pk).update(last_used_at=now)


class SessionAuthentication(authentication.SessionAuthentication):
    def authenticate(self, request: Request) -> Any:
        found = super().authenticate(request)
        return None if found is None else (principal_of_session(found[0], request.session), None)


class SessionTokenAuthentication(authentication.BaseAuthentication):
    """A session without a browser: the token that signing in at `/_allauth/app/v1/auth/login` answered with."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        token = request.headers.get("X-Session-Token")
        if token is None:
            return None
        found = authenticate_by_x_session_token(token) if _is_printable(token) else None
        if found is None or not found[0].is_active:
            raise exceptions.AuthenticationFailed("The session token is unknown or its session has ended.")
        return principal_of_session(*found), None


def _is_printable(token: str) -> bool:
    return token.isascii() and token.isalnum()


class ServiceKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = ServiceKeyAuthentication
    name = "serviceKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A management key, `slm_…`."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = SessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The dashboard's session."}


class SessionTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = SessionTokenAuthentication
    name = "sessionToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "X-Session-Token",
            "description": "A person's session without a browser, from `/_allauth/app/v1/auth/login`.",
        }
