"""/api/v1: usage, statements, prices, and quarantined usage for operators."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.billing import export, money, selectors, services
from control_plane.common.errors import Invalid
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints.selectors import catalogue
from control_plane.tenants.principal import Principal

MAX_PRICE = 10**15


class OrganizationChoice(StrictSerializer):
    organization_id = TypedIdSerializerField(
        "org", required=False, help_text="May be left out by whoever belongs to one organization."
    )


class GroupsField(serializers.CharField):
    """Comma-separated names of groups, each at most once."""

    def to_internal_value(self, data: Any) -> Any:
        names = [name.strip() for name in super().to_internal_value(data).split(",") if name.strip()]
        unknown = [name for name in names if name not in selectors.GROUPS]
        if unknown or len(set(names)) != len(names):
            raise serializers.ValidationError(f"Choose from {', '.join(selectors.GROUPS)}, each at most once.")
        return names


class UsageQuery(OrganizationChoice):
    group_by = GroupsField(required=False, help_text="day, key, endpoint, model, project, status; comma-separated.")
    start = serializers.DateTimeField(required=False, help_text="Default: the month's first moment (UTC).")
    end = serializers.DateTimeField(required=False, help_text="Exclusive. Default: now.")
    project_id = TypedIdSerializerField("prj", required=False)


class StatementQuery(OrganizationChoice):
    month = serializers.RegexField(re.compile(r"\A2[0-9]{3}-(?:0[1-9]|1[0-2])\Z"), required=False, help_text="YYYY-MM")
    format = serializers.ChoiceField(["json", "csv"], default="json")


class UsageRow(serializers.Serializer[Any]):
    """Sums of a group; the names of the groups asked for are fields too."""

    day = serializers.DateField(required=False)
    key_id = serializers.CharField(required=False)
    endpoint_id = serializers.CharField(required=False)
    model = serializers.CharField(required=False)
    project_id = serializers.CharField(required=False)
    status = serializers.CharField(required=False)
    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    steps = serializers.IntegerField()
    drafted = serializers.IntegerField()
    accepted = serializers.IntegerField()


class UsageReport(serializers.Serializer[Any]):
    organization_id = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    group_by = serializers.ListField(child=serializers.CharField())
    data = UsageRow(many=True)  # type: ignore[assignment]  # the metaclass takes it out of the class


class StatementLine(serializers.Serializer[Any]):
    model = serializers.CharField()
    kind = serializers.ChoiceField(money.KINDS)
    quantity = serializers.IntegerField(help_text="Tokens.")
    unit_price = serializers.IntegerField(help_text="Micro-dollars per million tokens.")
    amount_pico = serializers.CharField(help_text="quantity x unit_price: pico-dollars, exactly.")
    amount = serializers.CharField(help_text="Dollars, rounded half up to cents.")
    amount_cents = serializers.IntegerField()
    price_id = serializers.CharField(allow_null=True, help_text="null: no price was in effect.")


class StatementSerializer(serializers.Serializer[Any]):
    organization_id = serializers.CharField()
    month = serializers.CharField()
    until = serializers.DateTimeField()
    currency = serializers.CharField()
    lines = StatementLine(many=True)
    total = serializers.CharField()
    total_cents = serializers.IntegerField()


class PriceCreate(StrictSerializer):
    model = serializers.CharField(max_length=120)
    effective_from = serializers.DateTimeField()
    prompt = serializers.IntegerField(min_value=0, max_value=MAX_PRICE, help_text="Micro-dollars per million tokens.")
    cached = serializers.IntegerField(min_value=0, max_value=MAX_PRICE)
    completion = serializers.IntegerField(min_value=0, max_value=MAX_PRICE)


class PriceSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    model = serializers.CharField(source="model_id")
    effective_from = serializers.DateTimeField()
    prompt = serializers.IntegerField()
    cached = serializers.IntegerField()
    completion = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class PriceQuery(PageQuery):
    model = serializers.CharField(max_length=120, required=False)


class QuarantinedSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    node_id = serializers.CharField()
    boot_id = serializers.CharField()
    seq = serializers.IntegerField()
    reason = serializers.CharField()
    detail = serializers.CharField()
    payload = serializers.JSONField()
    received_at = serializers.DateTimeField()


def _organization_of(principal: Principal, organization_id: str | None) -> str:
    if organization_id is not None:
        return organization_id
    if len(principal.organization_ids) != 1:
        raise Invalid("Say which organization.", pointer="/organization_id", code="required")
    return principal.organization_ids[0]


class Usage(ApiView):
    queries = {"get": UsageQuery}

    @extend_schema(operation_id="read_usage", responses=UsageReport)
    def get(self, request: Request) -> Response:
        now = timezone.now()
        organization_id = _organization_of(self.principal, self.query.get("organization_id"))
        start = self.query.get("start") or selectors.month_start(now)
        end = self.query.get("end") or now + timedelta(seconds=1)
        group_by = self.query.get("group_by", [])
        if start >= end:
            raise Invalid("The end lies before the start.", pointer="/end")
        rows = selectors.usage(
            self.principal,
            organization_id,
            start=start,
            end=end,
            group_by=group_by,
            project_id=self.query.get("project_id"),
        )
        if len(rows) > selectors.MAX_ROWS:
            raise Invalid(f"More than {selectors.MAX_ROWS} rows: narrow the time or the groups.", pointer="/group_by")
        body = {"organization_id": organization_id, "start": start, "end": end, "group_by": group_by, "data": rows}
        return Response(UsageReport(body).data)


class Statements(ApiView):
    queries = {"get": StatementQuery}

    @extend_schema(
        operation_id="read_statement",
        responses={(200, "application/json"): StatementSerializer, (200, "text/csv"): OpenApiResponse(str)},
        description="Month to date, or a past month: usage x price, computed from the events.",
    )
    def get(self, request: Request) -> Response | HttpResponse:
        now = timezone.now()
        organization_id = _organization_of(self.principal, self.query.get("organization_id"))
        month = selectors.month_start(now)
        if text := self.query.get("month"):
            month = datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)
        found = selectors.statement(self.principal, organization_id, month=month, now=now)
        if self.query["format"] == "json":
            return Response(StatementSerializer(export.as_json(found)).data)
        name = f"statement-{found.month:%Y-%m}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(export.as_csv(found), content_type="text/csv; charset=utf-8", headers=headers)


class Prices(ApiView):
    queries = {"get": PriceQuery}

    @extend_schema(operation_id="list_prices", responses=page_schema(PriceSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.prices(self.query.pop("model", None)), **self.query)
        return Response(page_body(PriceSerializer(rows, many=True).data, cursor))

    @extend_schema(
        operation_id="create_price",
        request=PriceCreate,
        responses={201: PriceSerializer},
        description="For operators. Prices never change; a new one takes effect from a moment on.",
    )
    def post(self, request: Request) -> Response:
        self.principal.require_operator()
        body = read_body(PriceCreate, request)
        model = catalogue().filter(pk=body.pop("model")).first()
        if model is None:
            raise Invalid("There is no such model in the catalogue.", code="unknown_model", pointer="/model")
        made = services.create_price(model, actor=self.principal.actor, **body)
        return Response(PriceSerializer(made).data, status=201)


class Quarantined(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_quarantined_usage", responses=page_schema(QuarantinedSerializer))
    def get(self, request: Request) -> Response:
        rows, cursor = page(selectors.quarantined(self.principal), **self.query)
        return Response(page_body(QuarantinedSerializer(rows, many=True).data, cursor))


urlpatterns = [
    path("usage", Usage.as_view()),
    path("statements", Statements.as_view()),
    path("prices", Prices.as_view()),
    path("quarantined-usage", Quarantined.as_view()),
]
