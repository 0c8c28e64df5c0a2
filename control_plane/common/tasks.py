"""The base of every Celery task: takes ids, is idempotent, acknowledged after the work, and logs its own failure."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from django.db import close_old_connections

logger = logging.getLogger(__name__)


class BaseTask(Task):
    """`@shared_task(base=BaseTask, name="app.verb")`. A failure is logged; the beat sweep re-nudges what is due."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        close_old_connections()

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        logger.error("task %s%r failed: %r", self.name, tuple(args or ()), exc, exc_info=exc)
