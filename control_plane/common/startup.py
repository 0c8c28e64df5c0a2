"""What must hold, and what is done once, before the service answers."""

import gc

from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.urls import get_resolver


def check_database_role() -> None:
    """Refuse a role that row-level security does not bind. Raises ImproperlyConfigured."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        (privileged,) = cursor.fetchone()
    connection.close()
    if privileged:
        raise ImproperlyConfigured("DATABASE_URL names a superuser or BYPASSRLS role; use the runtime role")


def keep_what_is_loaded() -> None:
    """Load every view now, and let the collector of garbage never look at what is loaded again.

    Modules, models, schemas and URL patterns stay as long as the process; a full collection that walks over them stops
    whichever request it falls into for some tenths of a second.
    """
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()
