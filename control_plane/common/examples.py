"""Examples in the OpenAPI document: requests and answers of the tests, so that they can't lie.

`tests/control_plane/test_examples.py` records them (`SLIPSTREAM_RECORD=1`) and checks each against its schema.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "openapi-examples.json"


@lru_cache(maxsize=1)
def recorded() -> dict[str, Any]:
    """By operation id: `request` (absent without a body) and `responses` by status."""
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


def add_examples(result: dict[str, Any]) -> None:
    for operations in result["paths"].values():
        for operation in operations.values():
            found = recorded().get(operation["operationId"])
            if found is None:
                continue
            if "request" in found and "requestBody" in operation:
                for content in operation["requestBody"]["content"].values():
                    content["example"] = found["request"]
            for status, body in found["responses"].items():
                for kind, content in operation["responses"].get(status, {}).get("content", {}).items():
                    if kind.endswith("json"):
                        content["example"] = body
