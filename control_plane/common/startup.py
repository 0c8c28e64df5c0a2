"""What must hold before the service answers."""

from django.core.exceptions import ImproperlyConfigured
from django.db import connection


def check_database_role() -> None:
    """Refuse a role that row-level security does not bind. Raises ImproperlyConfigured."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        (privileged,) = cursor.fetchone()
    connection.close()
    if privileged:
        raise ImproperlyConfigured("DATABASE_URL names a superuser or BYPASSRLS role; use the runtime role")
