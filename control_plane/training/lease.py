"""Who works on a run: a row is claimed by a conditional UPDATE, kept by heartbeats, and lost by silence.

queued ──claim──> admitted ... publishing ──finish──> succeeded | rejected | skipped | failed | cancelled
  ^                   │
  └──── lease lost ───┘   (sweep; after MAX_ATTEMPTS: failed)
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from control_plane.common.states import record_event, transition
from control_plane.training.fairness import Quotas, Served, Waiting, next_run
from control_plane.training.models import RunState, TrainingRun

_TURN = 0x7472_6169_6E  # "train": the advisory lock of whoever decides which run is next


class LeaseLost(Exception):
    """Somebody else owns the run now, or nobody: whatever this worker still does must have no effect."""


class Cancelled(Exception):
    """A person, or a withdrawn consent, asked for the end of the run."""


class RunFailed(Exception):
    """The attempt failed. `permanent`: another one would fail in the same way."""

    def __init__(self, code: str, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.code = code
        self.permanent = permanent


@dataclass(slots=True)
class Lease:
    run_id: str
    project_id: str
    token: uuid.UUID
    seconds: float
    renewed_at: float = field(default_factory=time.monotonic)

    def heartbeat(
        self,
        *,
        phase: str = "",
        progress: float | None = None,
        loss: float | None = None,
        loss_series: list[list[float]] | None = None,
    ) -> None:
        """Renew. Raises LeaseLost, or Cancelled: by a person, or because the consent was withdrawn.

        A database that is away is waited for until the lease has run out.
        """
        values: dict[str, Any] = {} if progress is None else {"progress": min(max(progress, 0.0), 1.0), "loss": loss}
        if phase:
            values["phase"] = phase
        if loss_series is not None:
            values["loss_series"] = loss_series
        try:
            now = timezone.now()
            updated = self._row().update(
                heartbeat_at=now, lease_expires_at=now + timedelta(seconds=self.seconds), **values
            )
            has_consent = Q(project__traffic_policy__capture=True)
            cancelled = self._row().filter(Q(cancel_requested_at__isnull=False) | ~has_consent).exists()
        except (OperationalError, InterfaceError) as error:
            close_old_connections()
            if time.monotonic() - self.renewed_at > self.seconds:
                raise LeaseLost(self.run_id) from error
            return
        if updated != 1:
            raise LeaseLost(self.run_id)
        self.renewed_at = time.monotonic()
        if cancelled:
            raise Cancelled(self.run_id)

    @transaction.atomic
    def move(self, to: RunState, *, code: str = "", message: str = "", **values: Any) -> TrainingRun:
        """Change the run's state as its owner. Raises LeaseLost. A final state, or `queued`, ends the lease."""
        run = self._row().select_for_update().first()
        if run is None:
            raise LeaseLost(self.run_id)
        return leave_or_keep(run, to, code=code, message=message, **values)

    def hold(self) -> None:
        """Lock the run until the transaction ends. Raises LeaseLost."""
        if self._row().select_for_update().first() is None:
            raise LeaseLost(self.run_id)

    def _row(self) -> Any:
        return TrainingRun.objects.filter(project=self.project_id, pk=self.run_id, lease_token=self.token)


@transaction.atomic
def claim(run_id: str, *, seconds: float) -> Lease | None:
    """Become the run's owner; None if it isn't queued (any more)."""
    run = TrainingRun.objects.unscoped().filter(pk=run_id, state=RunState.QUEUED).first()
    if run is None:
        return None
    token, now = uuid.uuid4(), timezone.now()
    claimed = TrainingRun.objects.filter(project=run.project_id, pk=run_id, state=RunState.QUEUED).update(
        state=RunState.ADMITTED,
        state_code="claimed",
        state_message="",
        state_changed_at=now,
        lease_token=token,
        lease_expires_at=now + timedelta(seconds=seconds),
        heartbeat_at=now,
        attempts=F("attempts") + 1,
        started_at=Coalesce(F("started_at"), Now()),
        phase="",
        progress=0.0,
        loss=None,
        loss_series=[],
    )
    if claimed != 1:
        return None
    run.refresh_from_db()
    record_event(run, before=RunState.QUEUED, code="claimed", message=f"Attempt {run.attempts}.")
    return Lease(run_id, run.project_id, token, seconds)


@transaction.atomic
def claim_next(*, seconds: float, quotas: Quotas) -> Lease | None:
    """Claim the run whose turn it is (`fairness.py`); None if nothing may run now. One worker decides at a time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TURN])
    rows = TrainingRun.objects.unscoped()
    waiting = rows.filter(state=RunState.QUEUED).values_list("id", "project_id", "organization_id", "created_at")
    queue = [Waiting(*row) for row in waiting]
    running = list(rows.filter(lease_token__isnull=False).values_list("project_id", "organization_id"))
    last = TrainingRun.objects.filter(project__in={run.project_id for run in queue}, started_at__isnull=False)
    served = Served(
        Counter(project for project, _ in running),
        Counter(organization for _, organization in running),
        dict(last.order_by().values_list("project_id").annotate(Max("started_at"))),
    )
    chosen = next_run(queue, served, quotas)
    return None if chosen is None else claim(chosen.run_id, seconds=seconds)


def leave_or_keep(
    run: TrainingRun, to: RunState, *, code: str = "", message: str = "", actor: str = "system", **values: Any
) -> TrainingRun:
    """`transition` that also ends the lease when `to` has none."""
    if to in (RunState.QUEUED, *FINAL):
        values |= {"lease_token": None, "lease_expires_at": None}
    if to in FINAL:
        values["finished_at"] = timezone.now()
    return transition(run, to, code=code, message=message, actor=actor, **values)


FINAL = (RunState.SUCCEEDED, RunState.REJECTED, RunState.SKIPPED, RunState.FAILED, RunState.CANCELLED)
