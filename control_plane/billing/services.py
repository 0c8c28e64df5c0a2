"""Prices. They are never changed: a new row takes effect from a moment on."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from control_plane.billing.models import Price
from control_plane.common.errors import Conflict, Invalid
from control_plane.endpoints.models import CatalogueModel


@transaction.atomic
def create_price(
    model: CatalogueModel, *, effective_from: datetime, prompt: int, cached: int, completion: int, actor: str
) -> Price:
    """Micro-dollars per million tokens. A model's first price may reach back; later ones may not change the past."""
    CatalogueModel.objects.select_for_update().get(pk=model.pk)
    if effective_from < timezone.now() and Price.objects.filter(model=model).exists():
        raise Invalid("A price can't take effect in the past.", pointer="/effective_from")
    try:
        with transaction.atomic():
            return Price.objects.create(
                model=model,
                effective_from=effective_from,
                prompt=prompt,
                cached=cached,
                completion=completion,
                created_by=actor,
            )
    except IntegrityError as error:
        if "price_effective_from" not in str(error):
            raise
        raise Conflict("The model has a price from this moment on.", code="price_exists") from error
