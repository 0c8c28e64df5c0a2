"""What nodes report of an endpoint's requests, one deployment at a time."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from dataplane.contracts import Moments, SpeculationWindow
from tests.control_plane.tenant import Tenant

_numbers = itertools.count()


def moments(typical: float, count: int, spread: float = 0.2) -> Moments:
    """Of `count` values around `typical`, half of them a spread above and half below (as logarithms)."""
    logs = [math.log(typical) + (spread if n % 2 else -spread) for n in range(count)]
    return Moments(count, math.fsum(logs), math.fsum(value * value for value in logs))


def window(
    tenant: Tenant,
    deployment_id: str,
    *,
    requests: int = 100,
    errors: int = 0,
    seconds_per_token: float = 0.02,
    acceptance: float = 2.5,
    **changes: Any,
) -> SpeculationWindow:
    """A window that no other resembles: each begins at a moment of its own."""
    begin = datetime.now(UTC) + timedelta(microseconds=next(_numbers))
    answered = requests - errors
    values: dict[str, Any] = {
        "endpoint_id": tenant.endpoint.id,
        "deployment_id": deployment_id,
        "arm": "adaptive",
        "speculator_version_id": None,
        "started_at": begin.isoformat(),
        "ended_at": begin.isoformat(),
        "requests": requests,
        "errors": errors,
        "completion_tokens": 50 * answered,
        "decode_seconds": 50 * answered * seconds_per_token,
        "steps": 20 * answered,
        "drafted": 60 * answered,
        "accepted": 30 * answered,
        "first_token": moments(0.2, answered),
        "per_token": moments(seconds_per_token, answered),
        "acceptance": moments(acceptance, answered),
    }
    return SpeculationWindow(**values | changes)
