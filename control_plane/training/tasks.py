"""Celery's entry points. Each is idempotent and takes ids; the rows in Postgres say what is true."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db.models import Q

from control_plane.common.object_store import ObjectStoreError, object_store
from control_plane.common.tasks import BaseTask
from control_plane.speculators.models import TrafficPolicy
from control_plane.training import erasure, regressions, services
from control_plane.training.config import gate_policy, regression_policy, training_config
from control_plane.training.execution import execute
from control_plane.training.scheduling import schedule_runs
from control_plane.training.segments import SegmentError

logger = logging.getLogger(__name__)


@shared_task(base=BaseTask, name="training.execute_run")
def execute_run(run_id: str) -> None:
    execute(run_id, store=object_store(), config=training_config(), gate=gate_policy())


@shared_task(base=BaseTask, name="training.discover_segments")
def discover_segments() -> None:
    """Find new traffic, and what arrives late of deleted traffic; then queue the runs that are due."""
    config, store = training_config(), object_store()
    for policy in TrafficPolicy.objects.unscoped().filter(
        Q(capture=True) | Q(erased_before__isnull=False) | Q(end_user_erasures__gt=0)
    ):
        try:
            services.discover_segments(policy, store, lookback_days=config.lookback_days)
        except (ObjectStoreError, SegmentError) as error:
            logger.warning("traffic of %s could not be listed: %s", policy.project_id, error)
    schedule_runs(config)


@shared_task(base=BaseTask, name="training.sweep")
def sweep() -> None:
    """Take up what got lost: leases, nudges, erasures."""
    for run_id in services.sweep():
        execute_run.apply_async([run_id], expires=30)
    erasure.finish_open(object_store())


@shared_task(base=BaseTask, name="training.watch_regressions")
def watch_regressions() -> None:
    regressions.watch_regressions(regression_policy())


@shared_task(base=BaseTask, name="training.enforce_retention")
def enforce_retention() -> None:
    for policy in TrafficPolicy.objects.unscoped():
        try:
            services.enforce_retention(policy, object_store())
        except ObjectStoreError as error:
            logger.warning("retention of %s is late: %s", policy.project_id, error)
