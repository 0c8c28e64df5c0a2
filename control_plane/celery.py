"""The Celery application. A message is only a nudge: the row in Postgres is the truth."""

import ctypes
import os
import signal
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")

app = Celery("slipstream")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _check_database_role(**_: Any) -> None:
    from control_plane.common.startup import check_database_role

    check_database_role()


@worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """A pool process must not outlive a killed worker: its task is going to run again elsewhere."""
    set_parent_death_signal = 1  # Linux: PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
