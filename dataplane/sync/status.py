"""What the node reports of itself: a heartbeat with what each endpoint's requests did since the last one."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from dataplane.contracts import Moments, SpeculationWindow
from dataplane.engines.base import SpeculationStats
from dataplane.stamps import timestamp


@dataclass(slots=True)
class _Totals:
    """A window that is being filled."""

    started_at: str
    requests: int = 0
    completion_tokens: int = 0
    decode_seconds: float = 0.0
    steps: int = 0
    drafted: int = 0
    accepted: int = 0
    per_position_drafted: tuple[int, ...] = ()
    per_position_accepted: tuple[int, ...] = ()
    drafted_by_source: dict[str, int] = field(default_factory=dict)
    accepted_by_source: dict[str, int] = field(default_factory=dict)
    relearning: bool = False
    errors: int = 0
    first_token: Moments = field(default_factory=Moments)
    per_token: Moments = field(default_factory=Moments)
    acceptance: Moments = field(default_factory=Moments)


class SpeculationWindows:
    """Sums of finished requests by deployment, arm and speculator version. Thread-safe.

    `take` empties it; a heartbeat that could not be sent gives its windows back with `restore`, so that a silence of
    the control plane costs resolution, not numbers.
    """

    def __init__(self) -> None:
        self._totals: dict[tuple[str, str, str, str | None], _Totals] = {}
        self._lock = threading.Lock()

    def add(
        self,
        endpoint_id: str,
        deployment_id: str,
        completion_tokens: int,
        stats: SpeculationStats,
        *,
        failed: bool = False,
        first_token_seconds: float | None = None,
    ) -> None:
        """Count one finished request. failed: by the engine's or the clock's fault, not the client's."""
        key = (endpoint_id, deployment_id, stats.mode, stats.speculator_version_id)
        with self._lock:
            totals = self._totals.setdefault(key, _Totals(timestamp()))
            totals.requests += 1
            totals.completion_tokens += completion_tokens
            totals.errors += failed
            totals.first_token = _with(totals.first_token, first_token_seconds)
            if completion_tokens > 1 and not failed:
                totals.per_token = _with(totals.per_token, stats.decode_seconds / (completion_tokens - 1))
            if stats.steps and not failed:
                totals.acceptance = _with(totals.acceptance, 1.0 + stats.accepted / stats.steps)
            _merge(totals, stats)

    def take(self) -> tuple[SpeculationWindow, ...]:
        with self._lock:
            taken, self._totals = self._totals, {}
        ended_at = timestamp()
        return tuple(
            SpeculationWindow(
                endpoint_id=endpoint_id,
                deployment_id=deployment_id,
                arm=arm,
                speculator_version_id=version,
                ended_at=ended_at,
                **{name: getattr(totals, name) for name in _Totals.__slots__},
            )
            for (endpoint_id, deployment_id, arm, version), totals in taken.items()
        )

    def restore(self, windows: tuple[SpeculationWindow, ...]) -> None:
        """Put back what could not be sent."""
        with self._lock:
            for window in windows:
                key = (window.endpoint_id, window.deployment_id, window.arm, window.speculator_version_id)
                totals = self._totals.setdefault(key, _Totals(window.started_at))
                totals.started_at = min(totals.started_at, window.started_at)
                totals.requests += window.requests
                totals.completion_tokens += window.completion_tokens
                totals.errors += window.errors
                totals.first_token = _sum(totals.first_token, window.first_token)
                totals.per_token = _sum(totals.per_token, window.per_token)
                totals.acceptance = _sum(totals.acceptance, window.acceptance)
                _merge(totals, window)


def _merge(totals: _Totals, more: SpeculationStats | SpeculationWindow) -> None:
    totals.decode_seconds += more.decode_seconds
    totals.steps += more.steps
    totals.drafted += more.drafted
    totals.accepted += more.accepted
    totals.per_position_drafted = add_positions(totals.per_position_drafted, more.per_position_drafted)
    totals.per_position_accepted = add_positions(totals.per_position_accepted, more.per_position_accepted)
    totals.drafted_by_source = add_counts(totals.drafted_by_source, more.drafted_by_source)
    totals.accepted_by_source = add_counts(totals.accepted_by_source, more.accepted_by_source)
    totals.relearning = totals.relearning or more.relearning


def _with(moments: Moments, value: float | None) -> Moments:
    """One observation more. What is not positive has no logarithm and is none."""
    if value is None or value <= 0.0:
        return moments
    return _sum(moments, Moments(1, math.log(value), math.log(value) ** 2))


def _sum(left: Moments, right: Moments) -> Moments:
    return Moments(left.count + right.count, left.total + right.total, left.squares + right.squares)


def add_positions(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Counts by draft position, of different lengths."""
    return tuple(first + second for first, second in zip_longest(left, right, fillvalue=0))


def add_counts(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in {**left, **right}}
