"""/api/v1: webhooks and their deliveries."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints.api import StateReason
from control_plane.tenants.selectors import organization as find_organization
from control_plane.webhooks import selectors, services
from control_plane.webhooks.models import DELIVERY_TRANSITIONS

_TYPES_HELP = (
    "`*`, `endpoint.*`, `endpoint.ready`, `training_run.succeeded`, `speculator_version.active`, `audit.*`, "
    "`audit.api_key.create`, …: a noun and the state that it came to, `note` for what changes no state, or the action "
    "of an audit event. At most 32."
)


class WebhookFields(StrictSerializer):
    url = serializers.CharField(max_length=2000, help_text="https, without user, password and fragment.")
    description = serializers.CharField(max_length=200, allow_blank=True, required=False)
    event_types = serializers.ListField(
        child=serializers.CharField(max_length=100), min_length=1, max_length=32, help_text=_TYPES_HELP
    )


class WebhookCreate(WebhookFields):
    organization_id = TypedIdSerializerField("org")


class WebhookUpdate(WebhookFields):
    enabled = serializers.BooleanField(required=False, help_text="True also forgets earlier failures.")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for field in self.fields.values():
            field.required = False


class SecretRotate(StrictSerializer):
    overlap_seconds = serializers.IntegerField(
        min_value=0, max_value=7 * 86_400, default=86_400, help_text="How long the old secret signs too."
    )


class WebhookSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()
    event_types = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    disabled_reason = serializers.ChoiceField(
        ["", "failing", "gone"], help_text="Why the service disabled it: days of failures, or the receiver said 410."
    )
    failing_since = serializers.DateTimeField(allow_null=True)
    previous_secret_expires_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class NewWebhookSerializer(WebhookSerializer):
    secret = serializers.CharField(
        allow_null=True, help_text="`whsec_…` of Standard Webhooks, shown this once; null in a replay."
    )


class WebhookAttemptSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(
        help_text="Empty on success; timeout, connection, forbidden_address, redirect, status, protocol, secret_lost."
    )
    latency_milliseconds = serializers.IntegerField()
    response = serializers.CharField(help_text="The answer's first 1,024 characters.")


class WebhookDeliverySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    webhook_id = serializers.CharField()
    event_id = serializers.CharField(help_text="The header `webhook-id`: the same in every attempt and replay.")
    event_type = serializers.CharField()
    payload = serializers.DictField()
    state = serializers.ChoiceField(sorted(DELIVERY_TRANSITIONS))
    state_reason = StateReason(source="*")
    state_changed_at = serializers.DateTimeField()
    attempts = serializers.IntegerField(help_text="Since it was made or replayed; 11 at most.")
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    attempt_log = WebhookAttemptSerializer(many=True)
    created_at = serializers.DateTimeField()


class WebhookQuery(PageQuery):
    organization_id = TypedIdSerializerField("org", required=False)


class WebhookDeliveryQuery(PageQuery):
    webhook_id = TypedIdSerializerField("whk", required=False)
    state = serializers.ChoiceField(sorted(DELIVERY_TRANSITIONS), required=False)


class Webhooks(ApiView):
    queries = {"get": WebhookQuery}
    secret_fields = ("secret",)

    @extend_schema(operation_id="list_webhooks", responses=page_schema(WebhookSerializer))
    def get(self, request: Request) -> Response:
        rows = selectors.webhooks(self.principal)
        if organization_id := self.query.pop("organization_id", None):
            rows = rows.filter(organization_id=organization_id)
        found, cursor = page(rows, **self.query)
        return Response(page_body(WebhookSerializer(found, many=True).data, cursor))

    @extend_schema(
        operation_id="create_webhook",
        request=WebhookCreate,
        responses={201: NewWebhookSerializer},
        description=(
            "Events are posted as JSON, signed as Standard Webhooks say. A receiver answers 2xx within 10 seconds; "
            "else it is asked again, 11 times over 28 to 34 hours. Redirects are not followed; names must resolve to "
            "public addresses only. An event can come twice (same `webhook-id`) and in any order. At most 20 for each "
            "organization. A receiver that fails for 5 days, or answers 410, is disabled."
        ),
    )
    def post(self, request: Request) -> Response:
        body = read_body(WebhookCreate, request)
        organization = find_organization(self.principal, body.pop("organization_id"), "webhook:write")
        made, secret = services.create_webhook(
            organization, actor=self.principal.actor, request_id=self.request_id, **body
        )
        return Response({**WebhookSerializer(made).data, "secret": secret}, status=201)


class Webhook(ApiView):
    @extend_schema(operation_id="read_webhook", responses=WebhookSerializer)
    def get(self, request: Request, webhook_id: str) -> Response:
        return Response(WebhookSerializer(selectors.webhook(self.principal, webhook_id)).data)

    @extend_schema(operation_id="update_webhook", request=WebhookUpdate, responses=WebhookSerializer)
    def patch(self, request: Request, webhook_id: str) -> Response:
        found = selectors.webhook(self.principal, webhook_id, "webhook:write")
        changes = read_body(WebhookUpdate, request)
        changed = services.update_webhook(found, changes, actor=self.principal.actor, request_id=self.request_id)
        return Response(WebhookSerializer(changed).data)

    @extend_schema(
        operation_id="delete_webhook",
        responses={204: None},
        description="Its log of deliveries goes with it; what is pending is not sent.",
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        found = selectors.webhook(self.principal, webhook_id, "webhook:write")
        services.delete_webhook(found, actor=self.principal.actor, request_id=self.request_id)
        return Response(status=204)


class SecretRotation(ApiView):
    secret_fields = ("secret",)

    @extend_schema(operation_id="rotate_webhook_secret", request=SecretRotate, responses={201: NewWebhookSerializer})
    def post(self, request: Request, webhook_id: str) -> Response:
        found = selectors.webhook(self.principal, webhook_id, "webhook:write")
        body = read_body(SecretRotate, request)
        changed, secret = services.rotate_secret(found, actor=self.principal.actor, request_id=self.request_id, **body)
        return Response({**WebhookSerializer(changed).data, "secret": secret}, status=201)


class Test(ApiView):
    @extend_schema(
        operation_id="test_webhook",
        request=None,
        responses={202: WebhookDeliverySerializer},
        description="Send an event of the type `webhook.test`.",
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        found = selectors.webhook(self.principal, webhook_id, "webhook:write")
        made = services.send_test(found, actor=self.principal.actor, request_id=self.request_id)
        return _shown(self, made.id)


def _shown(view: ApiView, delivery_id: str) -> Response:
    return Response(WebhookDeliverySerializer(selectors.delivery(view.principal, delivery_id)).data, status=202)


class Deliveries(ApiView):
    queries = {"get": WebhookDeliveryQuery}

    @extend_schema(
        operation_id="list_webhook_deliveries",
        responses=page_schema(WebhookDeliverySerializer),
        description="Kept for 30 days.",
    )
    def get(self, request: Request) -> Response:
        rows = selectors.deliveries(self.principal)
        filters = {name: self.query.pop(name) for name in ("webhook_id", "state") if name in self.query}
        found, cursor = page(rows.filter(**filters), **self.query)
        return Response(page_body(list(WebhookDeliverySerializer(found, many=True).data), cursor))


class Delivery(ApiView):
    @extend_schema(operation_id="read_webhook_delivery", responses=WebhookDeliverySerializer)
    def get(self, request: Request, delivery_id: str) -> Response:
        return Response(WebhookDeliverySerializer(selectors.delivery(self.principal, delivery_id)).data)


class Replay(ApiView):
    @extend_schema(
        operation_id="replay_webhook_delivery",
        request=None,
        responses={202: WebhookDeliverySerializer},
        description="Send an event again, with the same id and body. 409 while it is still pending.",
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        found = selectors.delivery(self.principal, delivery_id, "webhook:write")
        services.replay(found, actor=self.principal.actor, request_id=self.request_id)
        return _shown(self, found.id)


urlpatterns = [
    path("webhooks", Webhooks.as_view()),
    path("webhooks/<str:webhook_id>", Webhook.as_view()),
    path("webhooks/<str:webhook_id>/rotate-secret", SecretRotation.as_view()),
    path("webhooks/<str:webhook_id>/test", Test.as_view()),
    path("webhook-deliveries", Deliveries.as_view()),
    path("webhook-deliveries/<str:delivery_id>", Delivery.as_view()),
    path("webhook-deliveries/<str:delivery_id>/replay", Replay.as_view()),
]
