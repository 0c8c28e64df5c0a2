"""Sums of usage by UTC day, kept in the transaction that stores the events: a report reads days, not requests.

Both tables are written by one statement each, out of the stored rows themselves. Rows are taken in one order, so two
batches that share an organization wait for each other and never block each other for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from control_plane.billing.models import KeyUsageDay, OrganizationUsageDay, UsageEvent, UsageSums

COUNTERS = ("prompt_tokens", "cached_tokens", "completion_tokens", "steps", "drafted", "accepted")
_GROUPS: dict[type[UsageSums], tuple[str, ...]] = {
    KeyUsageDay: ("project_id", "day", "endpoint_id", "key_id", "model", "status"),
    OrganizationUsageDay: ("organization_id", "day", "model", "status"),
}


def add(event_ids: Sequence[int]) -> None:
    """Count events that the same transaction has just stored. Call it once for each of them, and last: from here on,
    other batches of the same organizations wait."""
    if event_ids:
        for table in _GROUPS:
            _run(_upsert(table, "WHERE id = ANY (%s)"), list(event_ids))


def rebuild() -> None:
    """Everything anew out of the events: for the migration that made the tables, and for data that was loaded."""
    for table in _GROUPS:
        _run(f"DELETE FROM {table._meta.db_table}")
        _run(_upsert(table, ""))


def differences() -> list[str]:
    """Tables whose sums are not those of the events. Reads every event."""
    return [table._meta.db_table for table in _GROUPS if _differs(table)]


def _differs(table: type[UsageSums]) -> bool:
    names = ", ".join(_columns(table))
    kept = f"SELECT {names} FROM {table._meta.db_table}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (({_sums(table, '')} EXCEPT {kept}) UNION ALL ({kept} EXCEPT {_sums(table, '')}))"
        )
        return bool(cursor.fetchone()[0])


def _columns(table: type[UsageSums]) -> list[str]:
    return list(dict.fromkeys(["organization_id", *_GROUPS[table], "requests", *COUNTERS]))


def _sums(table: type[UsageSums], condition: str) -> str:
    groups = list(dict.fromkeys(["organization_id", *_GROUPS[table]]))
    selected = ["(finished_at AT TIME ZONE 'UTC')::date AS day" if name == "day" else name for name in groups]
    sums = ["count(*) AS requests", *(f"sum({name}) AS {name}" for name in COUNTERS)]
    places = ", ".join(str(place) for place in range(1, len(groups) + 1))
    return f"SELECT {', '.join([*selected, *sums])} FROM {UsageEvent._meta.db_table} {condition} GROUP BY {places}"


def _upsert(table: type[UsageSums], condition: str) -> str:
    name, key = table._meta.db_table, ", ".join(_GROUPS[table])
    added = ", ".join(f"{column} = {name}.{column} + EXCLUDED.{column}" for column in ("requests", *COUNTERS))
    return (
        f"INSERT INTO {name} ({', '.join(_columns(table))}) {_sums(table, condition)} ORDER BY {key} "
        f"ON CONFLICT ({key}) DO UPDATE SET {added}"
    )


def _run(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
