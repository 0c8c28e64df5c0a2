"""The third layer of isolation: PostgreSQL's row-level security.

Policies on tenants' tables show the rows of the organizations that the setting `slipstream.organizations` names (`*`:
all; absent: none). The runtime role is subject to them, the owner too (FORCE). A request narrows its own transaction,
so that even a query that forgot its tenant finds nothing of the others.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from control_plane.common.ids import decode

SETTING = "slipstream.organizations"
EVERYTHING = "*"


def narrow(organization_ids: Iterable[str]) -> str:
    """Until the transaction ends, only these organizations' rows exist. Returns the setting as it was."""
    assert connection.in_atomic_block, "the setting lives as long as its transaction"
    before = _get()
    _set(",".join(str(decode("org", organization_id)) for organization_id in organization_ids))
    return before


def restore(before: str) -> None:
    """Undo `narrow` where the request's transaction is a savepoint in a longer one; elsewhere its end does."""
    if connection.in_atomic_block and connection.savepoint_ids and not connection.needs_rollback:
        _set(before)


def include(organization_id: str) -> None:
    """Let the transaction also see one more organization: the one that it is about to create."""
    seen = _get()
    if seen != EVERYTHING:
        _set(",".join(filter(None, [seen, str(decode("org", organization_id))])))


def _get() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true)", [SETTING])
        return cursor.fetchone()[0] or ""


def _set(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [SETTING, value])
