"""Typed ids: `prj_01k9…`, a prefix over a UUIDv7 (RFC 9562) in Crockford's base 32, 26 characters, sortable by time."""

from __future__ import annotations

import functools
import os
import re
import time
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_BODY = re.compile(f"[0-7][{_ALPHABET}]{{25}}")
_TO_INT = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # as int(…, 32) reads them
# Two letters at once: a snapshot holds thousands of ids, and writing them was most of its time.
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]
_SHIFTS = range(120, -1, -10)


class InvalidId(ValueError):
    """A string is not an id of the expected type."""


def uuid7() -> uuid.UUID:
    """48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return uuid.UUID(int=value)


def encode(prefix: str, value: uuid.UUID) -> str:
    number = value.int
    return prefix + "_" + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def decode(prefix: str, text: str) -> uuid.UUID:
    """The UUID of a typed id. Raises InvalidId."""
    head, _, body = text.partition("_")
    if head != prefix or not _BODY.fullmatch(body):
        raise InvalidId(f"{text[:60]!r} is not an id of the form {prefix}_…")
    return uuid.UUID(int=int(body.translate(_TO_INT), 32))


def new_id(prefix: str) -> str:
    return encode(prefix, uuid7())


class TypedIdField(models.UUIDField):
    """A `uuid` column whose Python value is the typed id. As a primary key it makes its own ids."""

    # What the type checker's plugin reads: values are strings.
    _pyi_private_set_type: str
    _pyi_private_get_type: str  # type: ignore[assignment]

    def __init__(self, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        if options.get("primary_key"):
            options["default"] = functools.partial(new_id, prefix)
            options["editable"] = False
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, positional, options = super().deconstruct()
        if self.primary_key:
            options.pop("default", None)
            options.pop("editable", None)
        return name, path, [self.prefix, *positional], options

    def from_db_value(self, value: uuid.UUID | None, expression: Any, connection: Any) -> str | None:
        return None if value is None else encode(self.prefix, value)

    def to_python(self, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, uuid.UUID):
            return encode(self.prefix, value)
        try:
            decode(self.prefix, value)
        except (InvalidId, AttributeError) as error:
            raise ValidationError(str(error), code="invalid") from error
        return str(value)

    def get_prep_value(self, value: Any) -> uuid.UUID | None:
        if value is None or isinstance(value, uuid.UUID):
            return value
        return decode(self.prefix, value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)
