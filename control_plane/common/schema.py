"""Hooks of the OpenAPI generator."""

from __future__ import annotations

from typing import Any


def only_management_paths(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The public document describes /api/v1; nodes' own paths are described by `dataplane/contracts.py`."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
