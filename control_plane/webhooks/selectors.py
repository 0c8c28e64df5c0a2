"""Reading webhooks and their deliveries."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet

from control_plane.tenants.principal import Principal
from control_plane.tenants.selectors import one_or_404
from control_plane.webhooks.models import Webhook, WebhookAttempt, WebhookDelivery


def webhooks(principal: Principal) -> QuerySet[Webhook]:
    return Webhook.objects.filter(organization__in=principal.organizations_with("webhook:read"))


def webhook(principal: Principal, webhook_id: str, permission: str = "webhook:read") -> Webhook:
    """Raises NotFound outside of the principal's organizations, Forbidden without the permission."""
    found = one_or_404(Webhook.objects.filter(organization__in=principal.organization_ids), webhook_id)
    principal.require(permission, found.organization_id)
    return found


def deliveries(principal: Principal) -> QuerySet[WebhookDelivery]:
    """With their attempts, in two queries."""
    return _with_attempts(
        WebhookDelivery.objects.filter(organization__in=principal.organizations_with("webhook:read")),
        principal.organization_ids,
    )


def delivery(principal: Principal, delivery_id: str, permission: str = "webhook:read") -> WebhookDelivery:
    rows = WebhookDelivery.objects.filter(organization__in=principal.organization_ids)
    found = one_or_404(_with_attempts(rows, principal.organization_ids), delivery_id)
    principal.require(permission, found.organization_id)
    return found


def _with_attempts(rows: QuerySet[WebhookDelivery], organization_ids: list[str]) -> QuerySet[WebhookDelivery]:
    attempts = WebhookAttempt.objects.filter(organization__in=organization_ids).order_by("id")
    return rows.prefetch_related(Prefetch("attempt_log", queryset=attempts))
