"""Reading requests strictly: JSON as RFC 8259 has it, and no field or parameter that nobody reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from control_plane.common.ids import InvalidId, decode

# Far more than any body needs, and far less than what is left of the stack wherever a body is read again.
MAX_DEPTH = 64


class FirstRenderer(BaseContentNegotiation):
    """One representation per resource: the Accept header does not choose."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        media_type = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class StrictJSONParser(JSONParser):
    """Rejects NaN and Infinity, doubled keys, NUL characters, lone surrogates and bottomless nesting with a 400."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        view = (parser_context or {}).get("view")
        limit = getattr(view, "max_body_bytes", settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        content = stream.read(limit + 1)
        if len(content) > limit:
            raise RequestDataTooBig(f"The body is larger than {limit} bytes.")
        try:
            value = json.loads(content.decode("utf-8"), **_STRICT)
            _check(value)
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not valid JSON: {str(error)[:200]}") from error
        return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _check(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what JSON can say and the database can't store."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("a string contains a NUL character")
        value.encode("utf-8")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth + 1)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _float_sized(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError("a number has more than 300 digits")
    return int(digits)


_STRICT: dict[str, Any] = {
    "object_pairs_hook": _unique_keys,
    "parse_constant": _no_constant,
    "parse_int": _float_sized,
}


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(str(name) for name in data if name not in known)
            if unknown:
                raise serializers.ValidationError(
                    {
                        name: [serializers.ErrorDetail("This field is unknown.", code="unknown_field")]
                        for name in unknown
                    }
                )
            if self.context.get("typed"):
                self._refuse_other_types(data)
        return super().to_internal_value(data)

    def _refuse_other_types(self, data: Mapping[str, Any]) -> None:
        """Django REST framework would read 7 as "7" and "7" as 7; a query string must be read so, a body must not."""
        wrong = {}
        for name, value in data.items():
            kinds = next((kinds for field, kinds in _JSON_TYPES if isinstance(self.fields[name], field)), None)
            if value is not None and kinds is not None and type(value) not in kinds:
                wanted = "a string" if str in kinds else "true or false" if bool in kinds else "a number"
                wrong[name] = [serializers.ErrorDetail(f"This must be {wanted}.", code="wrong_type")]
        if wrong:
            raise serializers.ValidationError(wrong)


_LETTERS = "0-9a-hjkmnp-tv-z"  # Crockford's base 32
_JSON_TYPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], tuple[type, ...]], ...] = (
    (serializers.CharField, (str,)),
    (serializers.DateTimeField, (str,)),
    (serializers.IntegerField, (int,)),
    (serializers.FloatField, (int, float)),
    (serializers.BooleanField, (bool,)),
)


class TypedIdSerializerField(serializers.CharField):
    """A typed id in a body or a query, for example `prj_01k9…`."""

    def __init__(self, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        super().__init__(max_length=64, **options)
        # What the OpenAPI document says of it.
        self._spectacular_annotation = {"field": {"type": "string", "pattern": f"^{prefix}_[0-7][{_LETTERS}]{{25}}$"}}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            decode(self.prefix, text)
        except InvalidId as error:
            raise serializers.ValidationError(str(error), code="invalid_id") from error
        return text


def read_body(serializer: type[serializers.Serializer[Any]], request: Request, **options: Any) -> dict[str, Any]:
    """The validated body of a JSON request. Raises ValidationError."""
    reader = serializer(data=request.data, context={"typed": True}, **options)
    reader.is_valid(raise_exception=True)
    return dict(reader.validated_data)


def read_query(
    serializer: type[serializers.Serializer[Any]], request: Request, *others: type[serializers.Serializer[Any]]
) -> dict[str, Any]:
    """The validated query parameters; an unknown or a repeated one is an error. Raises ValidationError.

    others: further parameters of the same request, which are taken out before `serializer` reads the rest.
    """
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise serializers.ValidationError({name: ["This parameter occurs more than once."]})
    given = request.query_params.dict()
    found: dict[str, Any] = {}
    for other in others:
        reader = other(data={name: given.pop(name) for name in [*other().fields] if name in given})
        reader.is_valid(raise_exception=True)
        found |= reader.validated_data
    reader = serializer(data=given)
    reader.is_valid(raise_exception=True)
    return found | reader.validated_data
