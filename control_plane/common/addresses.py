"""From which address a request comes."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from dataplane import contracts


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address; None if the request did not come through the proxies that it should have."""
    return contracts.client_address(
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
        trusted_proxies=settings.SLIPSTREAM_TRUSTED_PROXIES,
    )
