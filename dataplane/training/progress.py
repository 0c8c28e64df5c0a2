"""The heartbeat of a training process: `progress.json`, replaced atomically."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Literal

from dataplane.contracts import TrainingProgress, to_dict

SECONDS_BETWEEN = 0.5


class Progress:
    """Writes progress at most every SECONDS_BETWEEN seconds, and at once when the phase changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._phase = ""
        self._written = 0.0

    def show(
        self,
        phase: Literal["preparing", "training", "evaluating", "done"],
        fraction: float,
        loss: float | None = None,
        message: str = "",
    ) -> None:
        """`fraction` of the phase that is done."""
        now = time.monotonic()
        if phase == self._phase and now - self._written < SECONDS_BETWEEN:
            return
        self._phase, self._written = phase, now
        write_json(self._path, to_dict(TrainingProgress(phase, min(1.0, fraction), loss, message)))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    os.replace(partial, path)
