"""The Celery application. A message is only a nudge: the row in Postgres is the truth."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")

app = Celery("slipstream")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
