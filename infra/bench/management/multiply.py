"""Many organizations out of one, in SQL: whatever tables the schema has, each row is copied with consistent new ids.

The template's rows are made by the services, so they are what the service writes; nothing here names a column of a
tenant's table, so a new table or column needs no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

ORGANIZATION = "tenants_organization"
USER = "tenants_user"
CATALOGUE = "endpoints_cataloguemodel"
_PER_ORGANIZATION = {ORGANIZATION, "tenants_membership", USER}

# The copy of an id: time-ordered as the original, and all organizations' interleaved, as they are in service.
_COPY_OF = """
CREATE FUNCTION pg_temp.copy_of(original uuid, k bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT (lpad(to_hex(('x' || substr(replace(original::text, '-', ''), 1, 12))::bit(48)::bigint
                    - 1000 * (k % 1000)), 12, '0')
        || '7' || substr(md5(original::text || k), 14, 3) || '8' || substr(md5(original::text || k), 18, 15))::uuid $$
"""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    max_length: int | None


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    key: str  # the primary key's column
    unique: tuple[tuple[str, ...], ...]
    references: dict[str, str]  # column -> table


@dataclass(frozen=True, slots=True)
class Copies:
    """Which copies to make: number `first` to `last`; into one organization, or each into one of its own."""

    first: int
    last: int
    into: str | None = None  # uuid
    model: str = "'bench-0'"  # SQL over k: the target model of a copy


class Multiplier:
    """connection: a superuser's, because row-level security binds everybody else."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], organization: str) -> None:
        self._connection = connection
        connection.execute("SET session_replication_role = replica")  # no foreign key is checked row by row
        connection.execute(_COPY_OF)
        tables = _read_tables(connection)
        self.tables = _of_tenants(tables)
        for name in self.tables:
            condition = _belongs(name, self.tables, organization)
            connection.execute(f"CREATE TEMP TABLE template_{name} AS SELECT * FROM {name} WHERE {condition}")

    def copy(self, copies: Copies, say: Callable[[str], None]) -> None:
        for table in self.tables.values():
            if copies.into is not None and table.name in _PER_ORGANIZATION:
                continue
            names, values = zip(*self._values(table, copies), strict=True)
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            made = self._connection.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} t CROSS JOIN generate_series({}::bigint, {}) k").format(
                    sql.Identifier(table.name),
                    columns,
                    sql.SQL(", ").join(sql.SQL(value) for value in values),
                    sql.Identifier(f"template_{table.name}"),
                    copies.first,
                    copies.last,
                )
            )
            if made.rowcount > 20_000:
                say(f"{table.name}: {made.rowcount} rows")

    def _values(self, table: Table, copies: Copies) -> Iterable[tuple[str, str]]:
        """Each column with the SQL of its copy."""
        varied = {name for names in table.unique for name in [self._to_vary(table, names, copies)] if name}
        for column in table.columns:
            if column.name == table.key and column.type == "bigint":
                continue  # the sequence gives another one
            value = f't."{column.name}"'
            if column.name == "organization_id" and copies.into is not None:
                value = f"'{copies.into}'::uuid"
            elif table.references.get(column.name) == CATALOGUE:
                value = copies.model
            elif column.type == "uuid":
                value = f"pg_temp.copy_of({value}, k)"
            elif column.name in varied and column.type in ("bigint", "integer", "smallint"):
                value = f"{value} + k * 100000"
            elif column.name in varied:
                value = f"substr(md5({value} || k), 1, {column.max_length or 32})"
            yield column.name, value

    def _to_vary(self, table: Table, names: tuple[str, ...], copies: Copies) -> str | None:
        """The column to change in each copy, where none of a unique index's columns differs by itself."""
        columns = [column for column in table.columns if column.name in names]
        if any(column.type == "uuid" and not (copies.into and column.name == "organization_id") for column in columns):
            return None
        by_type = sorted(columns, key=lambda column: column.type not in ("character varying", "text"))
        return next((column.name for column in by_type if column.name != table.key or column.type != "bigint"), None)


def _read_tables(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, Table]:
    """All of the schema."""
    columns: dict[str, list[Column]] = {}
    for name, column, kind, length in connection.execute(
        "SELECT table_name, column_name, data_type, character_maximum_length FROM information_schema.columns "
        "WHERE table_schema = 'public' AND is_generated = 'NEVER' ORDER BY table_name, ordinal_position"
    ):
        columns.setdefault(str(name), []).append(Column(str(column), str(kind), length))  # type: ignore[arg-type]
    keys: dict[str, str] = {}
    unique: dict[str, list[tuple[str, ...]]] = {}
    for name, primary, names in connection.execute(
        "SELECT i.indrelid::regclass::text, i.indisprimary, array_agg(a.attname::text) FROM pg_index i "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indisunique GROUP BY i.indexrelid, i.indrelid, i.indisprimary"
    ):
        assert isinstance(names, list)
        unique.setdefault(str(name), []).append(tuple(names))
        if primary:
            keys[str(name)] = names[0]
    references: dict[str, dict[str, str]] = {}
    for name, column, target in connection.execute(
        "SELECT c.conrelid::regclass::text, a.attname::text, c.confrelid::regclass::text FROM pg_constraint c "
        "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
        "WHERE c.contype = 'f' AND cardinality(c.conkey) = 1"
    ):
        references.setdefault(str(name), {})[str(column)] = str(target)
    return {
        name: Table(name, tuple(found), keys.get(name, ""), tuple(unique.get(name, ())), references.get(name, {}))
        for name, found in columns.items()
    }


def _of_tenants(tables: dict[str, Table]) -> dict[str, Table]:
    """Tables from which foreign keys lead to an organization; the people of it too. Parents come first."""
    found = {ORGANIZATION: tables[ORGANIZATION], USER: tables[USER]}
    while True:
        more = {
            name: table
            for name, table in tables.items()
            if name not in found and any(target in found and target != USER for target in table.references.values())
        }
        if not more:
            return found
        found |= more


def _belongs(name: str, tables: dict[str, Table], organization: str) -> str:
    """The SQL condition of an organization's rows."""
    table = tables[name]
    if name == ORGANIZATION:
        return f"id = '{organization}'"
    if name == USER:
        return f"id IN (SELECT user_id FROM tenants_membership WHERE organization_id = '{organization}')"
    if any(column.name == "organization_id" for column in table.columns):
        return f"organization_id = '{organization}'"
    column, target = next(
        (column, target) for column, target in table.references.items() if target in tables and target != USER
    )
    parent = tables[target]
    return f'"{column}" IN (SELECT "{parent.key}" FROM {target} WHERE {_belongs(target, tables, organization)})'
