"""Which tables hold tenants' rows, read from PostgreSQL's own catalogue; and what one tenant has in all of them.

A table is a tenant table if it names an organization, or if a foreign key leads to such a table. So a new table counts
from its first migration on, without being listed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.db import connection

ORGANIZATION = "tenants_organization"

# Tables that point at a tenant's row and yet are nobody's: with the reason.
NOT_OF_A_TENANT: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class ForeignKey:
    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parent:
    """A row without an organization belongs to the tenant of the row that `column` names."""

    column: str
    table: str
    key: str  # the parent's column


def foreign_keys() -> list[ForeignKey]:
    """All of the schema; a composite one has its columns in order."""
    names = """(SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM unnest({key}) WITH ORDINALITY AS k(number, place)
                JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number)"""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT c.conrelid::regclass::text, {names.format(key='c.conkey', table='c.conrelid')}, "
            f"c.confrelid::regclass::text, {names.format(key='c.confkey', table='c.confrelid')} "
            "FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace"
        )
        return [
            ForeignKey(table, tuple(columns), target, tuple(target_columns))
            for table, columns, target, target_columns in cursor.fetchall()
        ]


def columns_of(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table])
        return {name for (name,) in cursor.fetchall()}


def tenant_tables() -> dict[str, Parent | None]:
    """Each tenant table with its parent; None for a table that names the organization itself."""
    return dict(_tenant_tables())


@cache
def _tenant_tables() -> tuple[tuple[str, Parent | None], ...]:
    keys = [key for key in foreign_keys() if key.table not in NOT_OF_A_TENANT]
    found: dict[str, Parent | None] = {ORGANIZATION: None}
    found |= {key.table: None for key in keys if key.target == ORGANIZATION}
    grown = True
    while grown:
        grown = False
        for key in sorted(keys, key=lambda key: (key.table, key.columns)):
            if key.table not in found and key.target in found and len(key.columns) == 1:
                found[key.table] = Parent(key.columns[0], key.target, key.target_columns[0])
                grown = True
    return tuple(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Footprint:
    """For each tenant table: the number of a tenant's rows, and a digest of everything that is in them."""

    tables: dict[str, tuple[int, str]]

    def differences(self, other: Footprint) -> dict[str, tuple[int, int]]:
        """Tables in which something differs, with the number of rows before and after."""
        return {
            name: (value[0], other.tables[name][0])
            for name, value in self.tables.items()
            if value != other.tables[name]
        }


def footprint(organization_id: str) -> Footprint:
    """Everything that the database holds of one organization. Two equal footprints: nothing was touched."""
    return Footprint(dict(_footprint(organization_id)))


def _footprint(organization_id: str) -> Iterator[tuple[str, tuple[int, str]]]:
    from control_plane.common.ids import decode

    parents = tenant_tables()
    identity = str(decode("org", organization_id))
    conditions = {name: _condition(name, parents) for name in parents}
    conditions["tenants_idempotencyrecord"] = "actor = ANY (%(actors)s)"  # the one table that is found by its writer
    values = {"organization": identity, "actors": _actors(organization_id)}
    with connection.cursor() as cursor:
        for name, condition in conditions.items():
            cursor.execute(
                "SELECT count(*), md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) "
                f"FROM {name} t WHERE {condition}",
                values,
            )
            count, digest = cursor.fetchone()
            yield name, (count, digest)


def _condition(table: str, parents: dict[str, Parent | None]) -> str:
    parent = parents[table]
    if table == ORGANIZATION:
        return "id = %(organization)s"
    if parent is None:
        return "organization_id = %(organization)s"
    return f"{parent.column} IN (SELECT {parent.key} FROM {parent.table} WHERE {_condition(parent.table, parents)})"


def _actors(organization_id: str) -> list[str]:
    """Whoever acts for the organization: its people and its keys."""
    from control_plane.tenants.models import Membership, ServiceKey

    people = Membership.objects.filter(organization=organization_id).values_list("user_id", flat=True)
    return [*people, *ServiceKey.objects.filter(organization=organization_id).values_list("id", flat=True)]
