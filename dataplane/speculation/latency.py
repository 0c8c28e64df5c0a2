"""What a step costs: T(batch, rows) of the target plus the drafting, swept at start-up and corrected while serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Before any sweep: a target whose forward costs the same for 1 row and a little more for every further one.
_BASE_SECONDS = 0.025
_SECONDS_PER_ROW = 0.0006
_SECONDS_PER_DRAFT = 0.0015

_SHAPE_RATE = 0.02  # how fast one (batch, rows) cell follows what is measured
_LEAST_DRAFT = 1e-6  # seconds
_DRAFT_RATE = 0.05  # the same for the drafting, which is measured in fewer steps
_SCALE_RATE = 0.1  # how fast the common factor (a busy machine, long contexts) does
_SETTLED = 30  # steps after which the scale has found the machine and its contexts: the shape is learned from here
_SWEEP_WEIGHT = 9  # steps that the sweep of a cell is worth: a hurried one is soon outvoted
_OUTLIER = 2.0  # a single measurement counts at most this many times the expectation


class LatencyTable:
    """Seconds of a step. Additive: the target's forward over all rows, the drafting, a fixed overhead.

    Drafting is a start (the drafter reads what was committed since it last drafted) and as many steps as the longest
    chain has tokens: were it all laid on the steps, the second token of a draft would seem as dear as the first.

    A busy machine slows everything alike, so one `scale` follows the noise and leaves the shape of the table alone:
    decisions depend on ratios of entries, and only a lasting change of ratios changes them.
    """

    def __init__(self, *, max_batch: int = 16, max_rows_per_sequence: int = 16) -> None:
        self.max_batch = max_batch
        self.max_rows = max_batch * max_rows_per_sequence
        rows = np.arange(self.max_rows + 1, dtype=np.float64)
        # Plain lists: a look-up in them is ten times cheaper than in an array.
        self._score: list[list[float]] = np.tile(_BASE_SECONDS + _SECONDS_PER_ROW * rows, (max_batch + 1, 1)).tolist()
        self._draft = [_SECONDS_PER_DRAFT] * (max_batch + 1)  # [batch] per draft step of the whole batch
        self._draft_start = [0.0] * (max_batch + 1)  # [batch] before the first one; learned while serving
        self._overhead = 0.0005
        self._visits: dict[tuple[int, int], int] = {}  # (batch, rows) -> steps that corrected it
        self._num_observed = 0
        self._unexplained = 1.0  # running mean of what the scale leaves over, whatever the cell
        self.scale = 1.0

    def sweep(
        self,
        measure: Callable[[int, int], float],  # (batch, rows per sequence) -> seconds of score + verify + commit
        measure_draft: Callable[[int, int], float] | None = None,  # (batch, lookahead) -> seconds of one propose
        *,
        batches: Sequence[int] = (1, 2, 4, 8),
        rows_per_sequence: Sequence[int] = (1, 2, 3, 4, 5, 6, 8, 9, 12, 16),
        repeats: int = 3,
        max_seconds: float = 10.0,
    ) -> None:
        """Measure the grid (the least of `repeats` counts: noise only adds) and interpolate between its points.

        Once `max_seconds` are spent there are no further rounds and no larger batches.
        """
        swept = sorted({batch for batch in batches if batch <= self.max_batch})
        curves: list[NDArray[np.float64]] = []
        spent = 0.0
        for batch in swept:
            if curves and spent > max_seconds:
                break
            points = sorted({rows for rows in rows_per_sequence if batch * rows <= self.max_rows})
            # Round after round over all points: a busy moment then hits one round of each and not all rounds of one.
            rounds: list[list[float]] = []
            wanted = repeats if curves else 3 * repeats  # one sequence alone is the commonest batch
            while not rounds or (len(rounds) < wanted and spent <= max_seconds):
                rounds.append([measure(batch, rows) for rows in points])
                spent += sum(rounds[-1])
            rising = np.maximum.accumulate(np.array(rounds).min(axis=0))  # more rows are never cheaper
            curves.append(np.interp(np.arange(self.max_rows + 1), batch * np.array(points), rising))
            slope = (rising[-1] - rising[0]) / max(1, batch * (points[-1] - points[0]))
            beyond = np.arange(self.max_rows + 1) - batch * points[-1]
            curves[-1] += slope * np.maximum(beyond, 0)
        swept = swept[: len(curves)]
        self._score = np.maximum.accumulate(_between(swept, np.array(curves), self.max_batch), axis=1).tolist()
        if measure_draft is not None:  # one token: a longer draft may end early, when the drafter loses confidence
            per_step = [min(measure_draft(batch, 1) for _ in range(repeats + 1)) for batch in swept]
            self._draft = _between(swept, np.array(per_step)[:, None], self.max_batch)[:, 0].tolist()
        self.scale = 1.0

    def score_seconds(self, batch: int, rows: int) -> float:
        """Expected seconds of one target forward over `rows` rows in all, on the machine as it is when quiet."""
        return self._score[min(batch, self.max_batch)][min(rows, self.max_rows)]

    def score_curve(self, batch: int, rows: int, more: int) -> list[float]:
        """`score_seconds` for rows, rows + 1, ..., rows + more."""
        line = self._score[min(batch, self.max_batch)]
        curve = line[min(rows, self.max_rows) : rows + more + 1]
        return curve + curve[-1:] * (more + 1 - len(curve))

    def draft_seconds(self, batch: int) -> float:
        """Expected seconds of one draft step (one more token for each of `batch` sequences)."""
        return self._draft[min(batch, self.max_batch)]

    def draft_start_seconds(self, batch: int) -> float:
        """Expected seconds before the first draft step of `batch` sequences."""
        return self._draft_start[min(batch, self.max_batch)]

    @property
    def overhead_seconds(self) -> float:
        """Controller, memory look-ups and verification of one step."""
        return self._overhead

    def observe(
        self, *, batch: int, rows: int, drafting: int, draft_steps: int, score: float, draft: float, overhead: float
    ) -> None:
        """Correct the table by one step: `drafting` sequences took `draft_steps` draft steps; seconds as measured."""
        if score <= 0 or batch > self.max_batch or rows > self.max_rows:
            return
        self._num_observed += 1
        ratio = _ratio(score, self.score_seconds(batch, rows) * self.scale)
        self.scale *= 1 + max(_SCALE_RATE, 1 / (self._num_observed + 1)) * (ratio - 1)
        ratio = _ratio(score, self.score_seconds(batch, rows) * self.scale)  # what the scale does not explain
        # A cell is corrected by what sets it apart from the others that are measured. What they share is the machine's:
        # were it learned by the visited cells alone, those that nobody visits (a plain step's) would become too cheap.
        self._unexplained += _SCALE_RATE * (ratio - self._unexplained)
        if self._num_observed > _SETTLED:
            own = ratio / self._unexplained
            visits = self._visits[batch, rows] = self._visits.get((batch, rows), _SWEEP_WEIGHT) + 1
            self._score[batch][rows] *= 1 + max(_SHAPE_RATE, 1 / visits) * (own - 1)
        if draft_steps and draft > 0:
            expected = self._draft_start[drafting] + self._draft[drafting] * draft_steps
            error = expected * (_ratio(draft, expected * self.scale) - 1)
            # Normalised least mean squares: of lines through what was measured, the one nearest to the line before.
            step = _DRAFT_RATE * error / (1 + draft_steps * draft_steps)
            self._draft_start[drafting] = max(0.0, self._draft_start[drafting] + step)
            self._draft[drafting] = max(_LEAST_DRAFT, self._draft[drafting] + step * draft_steps)
        self._overhead += _SHAPE_RATE * (min(overhead / self.scale, _OUTLIER * self._overhead + 1e-5) - self._overhead)


def _ratio(measured: float, expected: float) -> float:
    return min(max(measured / expected, 1 / _OUTLIER), _OUTLIER)


def _between(swept: Sequence[int], values: NDArray[np.float64], max_batch: int) -> NDArray[np.float64]:
    """Rows for the batch sizes 0..max_batch from those of `swept`: linear between, the outermost slope beyond."""
    batches = np.arange(max_batch + 1, dtype=np.float64)
    columns = [np.interp(batches, swept, values[:, column]) for column in range(values.shape[1])]
    dense = np.stack(columns, axis=1)
    if len(swept) > 1:
        slope = np.maximum(0.0, (values[-1] - values[-2]) / (swept[-1] - swept[-2]))
        dense += np.maximum(batches - swept[-1], 0)[:, None] * slope[None, :]
    return dense
