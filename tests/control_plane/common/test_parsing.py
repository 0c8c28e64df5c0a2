"""What a body may be: JSON that the database can store."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rest_framework.exceptions import ParseError

from control_plane.common.parsing import MAX_DEPTH, StrictJSONParser


def parse(body: str) -> Any:
    return StrictJSONParser().parse(io.BytesIO(body.encode()))


@pytest.mark.parametrize(
    "body",
    [
        r'{"a": "x\u0000"}',
        r'{"a\u0000": 1}',
        r'{"a": ["x\u0000"]}',
        r'{"a": "\ud800"}',
        r'{"\ud800": 1}',
        '{"a": 1e999}',
        '{"a": [-1e999]}',
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        '{"a": ' + "1" * 400 + "}",
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
        "[" * 100_000,
        '{"a": ',
    ],
)
def test_what_json_can_say_and_the_database_cannot_store_is_refused(body: str) -> None:
    with pytest.raises(ParseError):
        parse(body)


def test_an_ordinary_body_is_read_as_it_is() -> None:
    assert parse(r'{"name": "caf\u00e9 \ud83d\ude00", "share": 0.5, "ids": [1, {"deep": [null, true]}]}') == {
        "name": "café 😀",
        "share": 0.5,
        "ids": [1, {"deep": [None, True]}],
    }
