"""/api/v1/audit-events: what was changed, by whom; as a file; and whether the record is whole."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Invalid
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField
from control_plane.common.views import ApiView
from control_plane.tenants import audit, audit_log, selectors
from control_plane.tenants.audit_log import AuditFilter

MAX_EXPORTED = 10_000
MAX_VERIFIED = 20_000
_NUMBER: dict[str, Any] = {"min_value": 0, "max_value": 2**62, "default": 0}


class Filters(StrictSerializer):
    organization_id = TypedIdSerializerField("org", required=False)
    action = serializers.CharField(
        max_length=64, required=False, help_text="`api_key.create`, or all of a noun: `api_key.*`."
    )
    actor = serializers.CharField(max_length=64, required=False, help_text="Id of a person, a key, or `system`.")
    target = serializers.CharField(max_length=64, required=False, help_text="Id of what was changed.")
    start = serializers.DateTimeField(required=False, help_text="Inclusive.")
    end = serializers.DateTimeField(required=False, help_text="Exclusive.")


class AuditQuery(PageQuery, Filters):
    pass


class ExportQuery(Filters):
    format = serializers.ChoiceField(["jsonl", "csv"], default="jsonl")
    after_number = serializers.IntegerField(**_NUMBER, help_text="`number` of the last event that you have.")


class VerificationQuery(StrictSerializer):
    organization_id = TypedIdSerializerField(
        "org", required=False, help_text="May be left out by whoever belongs to one organization."
    )
    after_number = serializers.IntegerField(**_NUMBER, help_text="`next_after_number` of the answer before.")


class AuditEventSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    number = serializers.IntegerField(help_text="Gapless within an organization.")
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    action = serializers.CharField()
    target = serializers.CharField()
    changes = serializers.JSONField(help_text="`{field: [before, after]}`; secrets and e-mail addresses are masked.")
    request_id = serializers.CharField()
    previous_sha256 = serializers.CharField()
    sha256 = serializers.CharField(help_text="Over this event's content and the hash before it.")


class BrokenSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    number = serializers.IntegerField()


class VerificationSerializer(serializers.Serializer[Any]):
    organization_id = serializers.CharField()
    whole = serializers.BooleanField(help_text="Of the events that this answer checked.")
    checked = serializers.IntegerField()
    first_broken = BrokenSerializer(allow_null=True)
    last_number = serializers.IntegerField(help_text="Of the last event that is as it should be.")
    head_sha256 = serializers.CharField(help_text="Its hash: note it, to notice later if events were cut off.")
    next_after_number = serializers.IntegerField(allow_null=True)


class AuditEvents(ApiView):
    queries = {"get": AuditQuery}

    @extend_schema(operation_id="list_audit_events", responses=page_schema(AuditEventSerializer))
    def get(self, request: Request) -> Response:
        limits = {name: self.query.pop(name) for name in ("limit", "after") if name in self.query}
        found, cursor = page(audit_log.audit_events(self.principal, _filter(self.query)), **limits)
        return Response(page_body(AuditEventSerializer(found, many=True).data, cursor))


class Export(ApiView):
    queries = {"get": ExportQuery}

    @extend_schema(
        operation_id="export_audit_events",
        responses={
            (200, "application/jsonl"): OpenApiResponse(str),
            (200, "text/csv"): OpenApiResponse(str),
        },
        description=f"Oldest first, {MAX_EXPORTED} at most: go on with `after_number`. Of one organization.",
    )
    def get(self, request: Request) -> HttpResponse:
        query = dict(self.query)
        form, after = query.pop("format"), query.pop("after_number")
        organization = selectors.the_organization(self.principal, query.pop("organization_id", None), "audit:read")
        rows = audit_log.audit_events(self.principal, _filter(query | {"organization_id": organization.id}))
        found = rows.filter(number__gt=after).order_by("number")[:MAX_EXPORTED]
        text, kind = (
            (audit_log.as_csv(found), "text/csv") if form == "csv" else (audit_log.as_jsonl(found), "application/jsonl")
        )
        name = f'attachment; filename="audit-events.{form}"'
        return HttpResponse(text, content_type=f"{kind}; charset=utf-8", headers={"Content-Disposition": name})


class Verification(ApiView):
    queries = {"get": VerificationQuery}

    @extend_schema(
        operation_id="verify_audit_events",
        responses=VerificationSerializer,
        description=f"Recompute the hash chain, {MAX_VERIFIED} events at most: go on with `next_after_number`.",
    )
    def get(self, request: Request) -> Response:
        organization = selectors.the_organization(self.principal, self.query.get("organization_id"), "audit:read")
        found = audit.verify(organization.id, after=self.query["after_number"], limit=MAX_VERIFIED)
        body = {
            "organization_id": organization.id,
            "whole": found.whole,
            "checked": found.checked,
            "first_broken": found.first_broken,
            "last_number": found.last_number,
            "head_sha256": found.head_sha256,
            "next_after_number": found.next_after,
        }
        return Response(VerificationSerializer(body).data)


def _filter(query: dict[str, Any]) -> AuditFilter:
    if "start" in query and "end" in query and query["start"] >= query["end"]:
        raise Invalid("The end lies before the start.", pointer="/end")
    return AuditFilter(**query)


urlpatterns = [
    path("audit-events", AuditEvents.as_view()),
    path("audit-events/export", Export.as_view()),
    path("audit-events/verification", Verification.as_view()),
]
