"""/api/v1/models, /hardware and /cost-estimates: what can be had now, and what it costs, before anything is started.

Here, because the catalogue's rows (endpoints), prices (billing) and live capacity (fleet) come together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.billing.estimate import Load, estimate
from control_plane.billing.models import Price
from control_plane.billing.selectors import current_prices
from control_plane.common.errors import Invalid
from control_plane.common.pagination import page_body, page_schema
from control_plane.common.parsing import StrictSerializer, read_body
from control_plane.common.views import ApiView
from control_plane.endpoints import selectors
from control_plane.endpoints.models import MAX_REPLICAS, CatalogueModel
from control_plane.fleet.selectors import Availability, availability

MAX_REQUESTS = 10**12


class AvailabilitySerializer(serializers.Serializer[Any]):
    ready_nodes = serializers.IntegerField(help_text="Nodes that answer requests now.")
    free_projects = serializers.IntegerField(help_text="How many more projects the nodes take.")


class ModelPriceSerializer(serializers.Serializer[Any]):
    """Micro-dollars per million tokens."""

    id = serializers.CharField()
    effective_from = serializers.DateTimeField()
    prompt = serializers.IntegerField()
    cached = serializers.IntegerField()
    completion = serializers.IntegerField()


class ModelSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    context_length = serializers.IntegerField()
    parameters = serializers.IntegerField()
    license = serializers.CharField()
    sha256 = serializers.CharField()
    engine = serializers.CharField()
    hardware = serializers.CharField(help_text="Id of a row of /hardware.")
    availability = AvailabilitySerializer()
    price = ModelPriceSerializer(allow_null=True, help_text="In force now; null: free until it gets one.")


class HardwareSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    engines = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField(), help_text="Models that are served on it.")
    availability = AvailabilitySerializer(help_text="Over these models' nodes.")


class EstimateBody(StrictSerializer):
    model = serializers.CharField(max_length=120, help_text="Id of a model of the catalogue.")
    requests = serializers.IntegerField(min_value=0, max_value=MAX_REQUESTS)
    prompt_tokens = serializers.IntegerField(min_value=0, max_value=10**9, help_text="Of one request.")
    cached_tokens = serializers.IntegerField(
        min_value=0, max_value=10**9, default=0, help_text="Those of the prompt that come from the prefix cache."
    )
    completion_tokens = serializers.IntegerField(min_value=0, max_value=10**9, help_text="Of one request.")
    training_seconds = serializers.IntegerField(min_value=0, max_value=10**9, default=0)
    min_replicas = serializers.IntegerField(min_value=1, max_value=MAX_REPLICAS, default=1)
    max_replicas = serializers.IntegerField(min_value=1, max_value=MAX_REPLICAS, default=1)


class EstimateLineSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(["prompt", "cached", "completion"])
    quantity = serializers.IntegerField(help_text="Tokens.")
    unit_price = serializers.IntegerField(help_text="Micro-dollars per million tokens.")
    amount_pico_dollars = serializers.IntegerField(source="amount_pico", help_text="Exact.")
    amount_cents = serializers.IntegerField(help_text="Rounded half up, as on a statement.")


class EstimateSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    price = ModelPriceSerializer(allow_null=True)
    lines = EstimateLineSerializer(many=True)
    training_pico_dollars = serializers.IntegerField()
    total_pico_dollars = serializers.IntegerField(help_text="Exact, with training.")
    total_cents = serializers.IntegerField(help_text="Sum of the lines' cents, as a statement would say.")
    assumptions = serializers.ListField(child=serializers.CharField())
    availability = AvailabilitySerializer()


def _shown(models: Iterable[CatalogueModel]) -> list[dict[str, Any]]:
    models = list(models)
    free, prices = availability(), current_prices([model.id for model in models], now=timezone.now())
    for model in models:
        model.availability = free.get(model.id, Availability())  # type: ignore[attr-defined]
        model.price = prices.get(model.id)  # type: ignore[attr-defined]
    return list(ModelSerializer(models, many=True).data)


class Models(ApiView):
    @extend_schema(operation_id="list_models", responses=page_schema(ModelSerializer))
    def get(self, request: Request) -> Response:
        return Response(page_body(_shown(selectors.catalogue()), None))


class Model(ApiView):
    @extend_schema(operation_id="read_model", responses=ModelSerializer)
    def get(self, request: Request, model_id: str) -> Response:
        return Response(_shown([selectors.catalogue_model(model_id)])[0])


class Hardware(ApiView):
    @extend_schema(operation_id="list_hardware", responses=page_schema(HardwareSerializer))
    def get(self, request: Request) -> Response:
        free = availability()
        groups: dict[str, list[CatalogueModel]] = {}
        for model in selectors.catalogue():
            groups.setdefault(model.hardware, []).append(model)
        rows = [
            {
                "id": hardware,
                "engines": sorted({model.engine for model in models}),
                "models": [model.id for model in models],
                "availability": sum((free.get(model.id, Availability()) for model in models), Availability()),
            }
            for hardware, models in sorted(groups.items())
        ]
        return Response(page_body(HardwareSerializer(rows, many=True).data, None))


class CostEstimates(ApiView):
    @extend_schema(
        operation_id="estimate_cost",
        request=EstimateBody,
        responses=EstimateSerializer,
        description="What a load would cost by the prices in force, in exact integers, and what that assumes. Nothing "
        "is started or kept.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(EstimateBody, request)
        model = selectors.catalogue().filter(pk=body.pop("model")).first()
        if model is None:
            raise Invalid("There is no such model in the catalogue.", code="unknown_model", pointer="/model")
        replicas = (body.pop("min_replicas"), body.pop("max_replicas"))
        if replicas[0] > replicas[1]:
            raise Invalid("This must be min_replicas at least.", pointer="/max_replicas")
        load = Load(**body)
        if load.cached_tokens > load.prompt_tokens:
            raise Invalid("These are some of the prompt's tokens.", pointer="/cached_tokens")
        price = current_prices([model.id], now=timezone.now()).get(model.id)
        found = estimate(
            model.id,
            load,
            price_id=price.id if price else None,
            unit_prices=_unit_prices(price),
            training_price_per_hour=settings.SLIPSTREAM_TRAINING_PRICE_PER_HOUR,
            replicas=replicas,
        )
        shown = {
            "model": model.id,
            "price": price,
            "lines": [asdict(line) for line in found.lines],
            "training_pico_dollars": found.training_pico,
            "total_pico_dollars": found.total_pico,
            "total_cents": found.total_cents,
            "assumptions": found.assumptions,
            "availability": availability().get(model.id, Availability()),
        }
        return Response(EstimateSerializer(shown).data)


def _unit_prices(price: Price | None) -> tuple[int, int, int]:
    return (price.prompt, price.cached, price.completion) if price is not None else (0, 0, 0)


urlpatterns = [
    path("models", Models.as_view()),
    path("models/<str:model_id>", Model.as_view()),
    path("hardware", Hardware.as_view()),
    path("cost-estimates", CostEstimates.as_view()),
]
