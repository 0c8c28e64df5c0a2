"""ASGI entry point: `uvicorn control_plane.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

from control_plane.common.startup import check_database_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
application = get_asgi_application()
check_database_role()
