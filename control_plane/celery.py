"""The Celery application. A message is only a nudge: the row in Postgres is the truth."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")

app = Celery("slipstream")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _check_database_role(**_: Any) -> None:
    from control_plane.common.startup import check_database_role

    check_database_role()
