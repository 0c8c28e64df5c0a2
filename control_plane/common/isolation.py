"""The third layer of isolation: PostgreSQL's row-level security.

Policies on tenants' tables show the rows of the organizations that the setting `slipstream.organizations` names (`*`:
all; absent: none). The runtime role is subject to them, the owner too (FORCE). A request narrows its own transaction,
so that even a query that forgot its tenant finds nothing of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connection

from control_plane.common.ids import decode

SETTING = "slipstream.organizations"
EVERYTHING = "*"


def narrow(organization_ids: Iterable[str]) -> str:
    """Until the transaction ends, only these organizations' rows exist. Returns the setting as it was."""
    assert connection.in_atomic_block, "the setting lives as long as its transaction"
    return _exchange(",".join(str(decode("org", organization_id)) for organization_id in organization_ids))


def restore(before: str) -> None:
    """Undo `narrow` where the request's transaction is a savepoint in a longer one; elsewhere its end does."""
    if connection.in_atomic_block and connection.savepoint_ids and not connection.needs_rollback:
        _exchange(before)


@contextmanager
def narrowed(organization_ids: Iterable[str]) -> Iterator[None]:
    """`narrow` around a block of a request."""
    before = narrow(organization_ids)
    try:
        yield
    finally:
        restore(before)


@contextmanager
def widened() -> Iterator[None]:
    """For operators of the service, who look at the fleet across tenants; check that the caller is one before."""
    before = _exchange(EVERYTHING)
    try:
        yield
    finally:
        if not connection.needs_rollback:
            _exchange(before)


def include(organization_id: str) -> None:
    """Let the transaction also see one more organization: the one that it is about to create."""
    added = str(decode("org", organization_id))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(%s, concat_ws(',', nullif(seen, ''), %s), true) "
            "FROM current_setting(%s, true) AS seen WHERE seen <> %s",
            [SETTING, added, SETTING, EVERYTHING],
        )


def _exchange(value: str) -> str:
    """Set the setting until the transaction ends; return what it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true), set_config(%s, %s, true)", [SETTING, SETTING, value])
        return cursor.fetchone()[0] or ""
