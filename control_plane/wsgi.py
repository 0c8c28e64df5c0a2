"""WSGI entry point: `gunicorn control_plane.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from control_plane.common.startup import check_database_role, keep_what_is_loaded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
application = get_wsgi_application()
check_database_role()
keep_what_is_loaded()
