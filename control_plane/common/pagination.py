"""Cursor pages: `?limit=&after=` -> `{"data": [], "has_more": , "next_cursor": }`, newest first."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers

from control_plane.common.errors import Invalid
from control_plane.common.parsing import StrictSerializer

Row = TypeVar("Row", bound=Model)

MAX_LIMIT = 100


class PageQuery(StrictSerializer):
    """Query parameters of every list."""

    limit = serializers.IntegerField(min_value=1, max_value=MAX_LIMIT, default=20)
    after = serializers.CharField(max_length=64, required=False, help_text="`next_cursor` of the page before.")


def page(rows: QuerySet[Row], *, limit: int, after: str | None = None) -> tuple[list[Row], str | None]:
    """One page and the cursor of the next one. Ids are ordered by time, so the id is the cursor."""
    if after is not None:
        try:
            rows = rows.filter(pk__lt=after)
        except ValueError as error:
            raise Invalid("The cursor is not one of this list's.", pointer="/after") from error
    found = list(rows.order_by("-pk")[: limit + 1])
    more = len(found) > limit
    return found[:limit], str(found[limit - 1].pk) if more else None


def page_body(data: Any, next_cursor: str | None) -> dict[str, Any]:
    return {"data": data, "has_more": next_cursor is not None, "next_cursor": next_cursor}


def page_schema(item: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """The schema of a page of `item`, for OpenAPI."""
    from drf_spectacular.utils import inline_serializer

    return inline_serializer(
        name=f"{item.__name__.removesuffix('Serializer')}Page",
        fields={
            "data": item(many=True),
            "has_more": serializers.BooleanField(),
            "next_cursor": serializers.CharField(allow_null=True),
        },
    )
