"""The numbers of this app, read from Django's settings where they are needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings

from control_plane.speculators.models import Speculator
from control_plane.speculators.regression import RegressionPolicy
from control_plane.training.fairness import Quotas
from control_plane.training.gate import GatePolicy

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    command: tuple[str, ...]
    min_records: int  # new records that make a run worth while
    drift_records: int  # the same when the traffic drifted
    max_records: int  # the newest so many are learned from
    heldout_records: int
    rank: int
    threads: int
    max_seconds: int  # of training; the child keeps to it itself
    wall_seconds: int  # of the whole child: beyond it, it is ended
    memory_bytes: int
    lease_seconds: float
    poll_seconds: float
    require_isolation: bool
    quotas: Quotas
    price_per_hour: int  # micro-dollars for an hour of the child
    lookback_days: int  # how late a cut-off node's segment may appear and still be found at once
    models_dir: Path
    checkpoints_dir: Path
    scratch_dir: Path


def training_config() -> TrainingConfig:
    return TrainingConfig(
        command=tuple(settings.SLIPSTREAM_TRAINING_COMMAND),
        min_records=settings.SLIPSTREAM_TRAINING_MIN_RECORDS,
        drift_records=settings.SLIPSTREAM_TRAINING_MIN_RECORDS // 3,
        max_records=settings.SLIPSTREAM_TRAINING_MAX_RECORDS,
        heldout_records=settings.SLIPSTREAM_TRAINING_HELDOUT_RECORDS,
        rank=settings.SLIPSTREAM_TRAINING_RANK,
        threads=settings.SLIPSTREAM_TRAINING_THREADS,
        max_seconds=settings.SLIPSTREAM_TRAINING_MAX_SECONDS,
        wall_seconds=settings.SLIPSTREAM_TRAINING_WALL_SECONDS,
        memory_bytes=settings.SLIPSTREAM_TRAINING_MEMORY_BYTES,
        lease_seconds=settings.SLIPSTREAM_TRAINING_LEASE_SECONDS,
        poll_seconds=settings.SLIPSTREAM_TRAINING_POLL_SECONDS,
        require_isolation=settings.SLIPSTREAM_TRAINING_REQUIRE_ISOLATION,
        quotas=Quotas(
            project_running=settings.SLIPSTREAM_TRAINING_PROJECT_RUNNING,
            organization_running=settings.SLIPSTREAM_TRAINING_ORGANIZATION_RUNNING,
            project_runs_per_day=settings.SLIPSTREAM_TRAINING_PROJECT_RUNS_PER_DAY,
            project_seconds_per_day=settings.SLIPSTREAM_TRAINING_PROJECT_SECONDS_PER_DAY,
        ),
        price_per_hour=settings.SLIPSTREAM_TRAINING_PRICE_PER_HOUR,
        lookback_days=settings.SLIPSTREAM_TRAINING_LOOKBACK_DAYS,
        models_dir=Path(settings.SLIPSTREAM_MODELS_DIR),
        checkpoints_dir=Path(settings.SLIPSTREAM_CHECKPOINTS_DIR),
        scratch_dir=Path(settings.SLIPSTREAM_VAR) / "training",
    )


def gate_policy() -> GatePolicy:
    return GatePolicy(
        min_gain=settings.SLIPSTREAM_GATE_MIN_GAIN,
        confidence=settings.SLIPSTREAM_GATE_CONFIDENCE,
        min_heldout_records=settings.SLIPSTREAM_GATE_MIN_HELDOUT_RECORDS,
    )


def gate_policy_of(speculator: Speculator, default: GatePolicy) -> GatePolicy:
    """The gate's thresholds for one speculator: its policy, and the service's default where that says nothing."""
    wanted = {name: getattr(speculator, name) for name in ("min_gain", "confidence", "min_heldout_records")}
    return replace(default, **{name: value for name, value in wanted.items() if value is not None})


def regression_policy() -> RegressionPolicy:
    return RegressionPolicy(
        min_steps=settings.SLIPSTREAM_REGRESSION_MIN_STEPS, max_drop=settings.SLIPSTREAM_REGRESSION_MAX_DROP
    )
