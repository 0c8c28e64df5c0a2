"""One training run, from claim to promotion, in the worker process; everything that needs torch is in the child.

queued -> admitted -> preparing -> running -> evaluating -> publishing -> succeeded
                                      └──────────┴── gate ──> rejected | skipped
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F

from control_plane.common.object_store import ObjectStore, ObjectStoreError
from control_plane.speculators.models import AdaptationKind, TrafficPolicy
from control_plane.speculators.selectors import active_version, as_contract
from control_plane.speculators.timeline import note
from control_plane.training.child import Child, ChildLimits, Visible, clean_environment, describe_exit
from control_plane.training.config import MAX_ATTEMPTS, TrainingConfig, gate_policy_of
from control_plane.training.gate import GateDecision, GatePolicy, decide
from control_plane.training.inputs import Inputs, Materialized, choose_inputs, materialize, static_folder
from control_plane.training.lease import Cancelled, Lease, LeaseLost, RunFailed, claim_next
from control_plane.training.losses import LossSeries
from control_plane.training.models import LEASED, RunState, TrainingRun
from control_plane.training.publishing import PublishingError, publish
from dataplane.contracts import (
    ContractError,
    TrainingProgress,
    TrainingReport,
    TrainingSpec,
    canonical_json,
    from_dict,
    to_dict,
)

logger = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_REPORT_BYTES = 4 << 20


def execute(run_id: str, *, store: ObjectStore, config: TrainingConfig, gate: GatePolicy) -> None:
    """Claim the run that is next and see it through.

    1. claim whichever run's turn it is (not always the one in the message: that only says that something waits),
       by a conditional UPDATE; nothing to do if all that wait are at their quotas
    2. freeze the input: the project's consented segments, the newest held out
    3. download them, and only this project's records of this model, into a scratch folder
    4. run the child, copying its progress into the row: that is the heartbeat
    5. let the gate decide on its report
    6. publish, promote and bump the generation in one transaction with the run's success

    A lost lease makes the rest have no effect. A failed attempt is queued again, up to MAX_ATTEMPTS.
    """
    lease = claim_next(seconds=config.lease_seconds, quotas=config.quotas)
    if lease is None:
        return
    run_id = lease.run_id
    try:
        with _scratch(config.scratch_dir, lease) as scratch:
            _attempt(lease, scratch, store=store, config=config, gate=gate)
    except LeaseLost:
        logger.warning("run %s: the lease was lost; this attempt has no effect", run_id)
    except Cancelled:
        _leave(lease, RunState.CANCELLED, code="cancelled", message="Cancelled on request or for lack of consent.")
    except RunFailed as error:
        _fail(lease, error)
    except ObjectStoreError as error:
        _fail(lease, RunFailed("object_store", f"The object store failed: {error}", permanent=not error.retryable))
    except Exception as error:
        logger.exception("run %s failed", run_id)
        _fail(lease, RunFailed("internal_error", f"Internal error ({type(error).__name__}).", permanent=False))


def _attempt(lease: Lease, scratch: Path, *, store: ObjectStore, config: TrainingConfig, gate: GatePolicy) -> None:
    speculator = (
        TrainingRun.objects.select_related("speculator").get(project=lease.project_id, pk=lease.run_id).speculator
    )
    needed = gate_policy_of(speculator, gate).min_heldout_records
    config = replace(config, heldout_records=max(config.heldout_records, needed))
    run = _freeze(lease, config)
    inputs = Inputs.from_dict(run.inputs)
    model = run.speculator.model
    if not static_folder(model, config).is_dir():
        message = f"Skipped: {model.id} has no static speculator, which the adaptive one is trained on top of."
        lease.move(RunState.SKIPPED, code="no_static_speculator", message=message)
        return
    given = materialize(run, inputs, lease, scratch, store=store, config=config)
    spec = given.spec
    if not spec.train_segments:
        message = "Skipped: there is no consented traffic of this model to learn from."
        lease.move(RunState.SKIPPED, code="no_traffic", message=message)
        return
    report = _train(lease, given, scratch, config=config)
    decision = decide(report, gate_policy_of(run.speculator, gate))
    evidence = {"report": to_dict(report), "gate": to_dict(decision), "phase": "done", "progress": 1.0}
    if not decision.accept:
        state = RunState.SKIPPED if decision.outcome == "skipped" else RunState.REJECTED
        _end(lease, state, decision, evidence)
        return
    run = lease.move(RunState.PUBLISHING, code=decision.code, message=decision.reason, **evidence)
    try:
        publish(run, lease, report=report, decision=decision, delta=scratch / "out" / "delta.safetensors", store=store)
    except PublishingError as error:
        raise RunFailed(error.code, str(error), permanent=True) from error


@transaction.atomic
def _end(lease: Lease, state: RunState, decision: GateDecision, evidence: dict[str, Any]) -> None:
    run = lease.move(state, code=decision.code, message=decision.reason, **evidence)
    note(run.speculator, AdaptationKind(state.value), decision.reason, training_run_id=run.id)


def _freeze(lease: Lease, config: TrainingConfig) -> TrainingRun:
    """Decide on the input once: a later attempt at the same run learns from the same traffic."""
    run = TrainingRun.objects.select_related("speculator__model").get(project=lease.project_id, pk=lease.run_id)
    policy = TrafficPolicy.objects.filter(project=lease.project_id).first()
    if policy is None or not policy.capture:
        raise Cancelled(lease.run_id)
    if run.inputs:
        return lease.move(RunState.PREPARING, code="inputs_kept")
    inputs, last_segment_id = choose_inputs(
        lease.project_id,
        max_records=config.max_records,
        heldout_records=config.heldout_records,
        redacted=policy.redaction != "off",
    )
    return lease.move(
        RunState.PREPARING,
        code="inputs_frozen",
        message=f"{inputs.records} records in {len(inputs.train)} + {len(inputs.heldout)} segments.",
        inputs=inputs.to_dict(),
        last_segment_id=last_segment_id,
        consent={
            **to_dict(as_contract(policy)),
            "policy_updated_at": policy.updated_at.isoformat(),
        },
        incumbent=active_version(run.speculator),
    )


def _train(lease: Lease, given: Materialized, scratch: Path, *, config: TrainingConfig) -> TrainingReport:
    """Run the child to its end, one heartbeat per poll."""
    spec = given.spec
    spec_path, out = scratch / "spec.json", scratch / "out"
    out.mkdir()
    spec_path.write_bytes(canonical_json(spec))
    lease.move(RunState.RUNNING, code="child_started", lineage=given.lineage, end_users=given.end_users)
    started = time.monotonic()
    child = Child(
        [*config.command, str(spec_path), str(out)],
        scratch=scratch,
        environment=clean_environment(
            scratch=scratch, python_path=[REPOSITORY, REPOSITORY / "kernels"], threads=config.threads
        ),
        limits=ChildLimits(
            cpu_seconds=config.wall_seconds * config.threads,
            memory_bytes=config.memory_bytes,
            require=config.require_isolation,
        ),
        visible=Visible(
            read_only=(
                REPOSITORY / "dataplane",
                REPOSITORY / "kernels",
                Path(spec.target_path),
                Path(spec.static_path),
            ),
            inputs=tuple(path for path in scratch.iterdir() if path.name not in ("out", "stderr.log")),
        ),
    )
    try:
        status = _watch(lease, child, out / "progress.json", config)
        if status != 0:
            last_line = (child.stderr_tail().splitlines() or [""])[-1]
            message = f"The training process {describe_exit(status)}. {last_line}".strip()
            raise RunFailed("child_failed", message, permanent=status > 0)
    finally:
        child.kill()
        _meter(lease, time.monotonic() - started)
    return _read_report(out / "report.json", spec)


def _meter(lease: Lease, seconds: float) -> None:
    """Every second of a child counts, also of an attempt that failed or was cancelled or lost its lease."""
    rows = TrainingRun.objects.filter(project=lease.project_id, pk=lease.run_id)
    rows.update(training_milliseconds=F("training_milliseconds") + round(1000 * seconds))


def _watch(lease: Lease, child: Child, progress_path: Path, config: TrainingConfig) -> int:
    started, evaluating, losses = time.monotonic(), False, LossSeries()
    deadline = started + config.wall_seconds
    while True:
        status = child.poll()
        progress = _read_progress(progress_path)
        if progress is None:
            lease.heartbeat()
        else:
            is_new = losses.add(time.monotonic() - started, progress.loss)
            lease.heartbeat(
                phase=progress.phase,
                progress=progress.fraction,
                loss=progress.loss,
                loss_series=losses.points if is_new else None,
            )
            if progress.phase == "evaluating" and not evaluating:
                evaluating = True
                lease.move(RunState.EVALUATING, code="replaying_heldout")
        if status is not None:
            return status
        if time.monotonic() > deadline:
            raise RunFailed("child_timeout", f"No result after {config.wall_seconds} s.", permanent=False)
        time.sleep(config.poll_seconds)


def _read_progress(path: Path) -> TrainingProgress | None:
    """The child's newest progress; None if there is none that makes sense (it is untrusted, and only shown)."""
    try:
        return from_dict(TrainingProgress, _read_json(path))
    except (OSError, ValueError):
        return None


def _read_report(path: Path, spec: TrainingSpec) -> TrainingReport:
    try:
        report = from_dict(TrainingReport, _read_json(path))
    except (OSError, ValueError) as error:
        raise RunFailed(
            "bad_report", f"The training process left no readable report: {error}", permanent=True
        ) from error
    if report.training_run_id != spec.training_run_id:
        raise RunFailed("bad_report", "The report is another run's.", permanent=True)
    return report


def _read_json(path: Path) -> Any:
    def no_constant(name: str) -> None:
        raise ContractError(path.name, f"{name} is not a JSON number")

    if path.stat().st_size > MAX_REPORT_BYTES:
        raise ContractError(path.name, f"is larger than {MAX_REPORT_BYTES} bytes")
    return json.loads(path.read_bytes(), parse_constant=no_constant)


def _fail(lease: Lease, error: RunFailed) -> None:
    """Queue another attempt, or give up where people see it."""
    run = TrainingRun.objects.filter(project=lease.project_id, pk=lease.run_id).first()
    if run is None:
        return
    if error.permanent or run.attempts >= MAX_ATTEMPTS:
        _leave(lease, RunState.FAILED, code=error.code, message=str(error))
    else:
        _leave(lease, RunState.QUEUED, code=error.code, message=str(error))


def _leave(lease: Lease, to: RunState, *, code: str, message: str) -> None:
    try:
        lease.move(to, code=code, message=message)
    except LeaseLost:
        logger.warning("run %s: the lease was lost before it could become %s", lease.run_id, to)


@contextmanager
def _scratch(root: Path, lease: Lease) -> Iterator[Path]:
    """A folder of this attempt, gone afterwards. What a killed worker left behind on this machine goes first."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in root.iterdir():
        run_id = stale.name.partition(".")[0]
        busy = TrainingRun.objects.unscoped().filter(id__in=_ids(run_id), state__in=LEASED).exclude(pk=lease.run_id)
        if not busy.exists():
            shutil.rmtree(stale, ignore_errors=True)
    folder = root / f"{lease.run_id}.{lease.token.hex}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ids(name: str) -> list[str]:
    return [name] if name.startswith("run_") and len(name) == 30 else []
