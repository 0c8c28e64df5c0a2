"""The loss of a run as it falls: a series of bounded length, whatever the run's."""

from __future__ import annotations

import math

MAX_POINTS = 120


class LossSeries:
    """Points of (seconds since the start, loss). When MAX_POINTS are there, every second one goes and half as many
    are taken from then on, so that the series always spans the whole run."""

    def __init__(self) -> None:
        self.points: list[list[float]] = []
        self._stride = 1
        self._skipped = 0

    def add(self, seconds: float, loss: float | None) -> bool:
        """Whether the series has changed. A repeated loss is the same report read twice, no new point."""
        if loss is None or not math.isfinite(loss) or (self.points and self.points[-1][1] == loss):
            return False
        self._skipped += 1
        if self._skipped < self._stride:
            return False
        self._skipped = 0
        self.points.append([round(seconds, 1), loss])
        if len(self.points) >= MAX_POINTS:
            self.points = self.points[::2]
            self._stride *= 2
        return True
