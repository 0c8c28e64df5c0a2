"""Schema that Django's models can't say, as migration operations."""

from __future__ import annotations

from django.db.migrations import RunSQL


def composite_foreign_key(table: str, columns: tuple[str, str], target: str, *, name: str) -> RunSQL:
    """`(tenant_id, object_id)` must name an object of that tenant: a cross-tenant reference can't be stored.

    The target needs a unique constraint over `(columns[0], id)`.
    """
    first, second = columns
    return RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({first}, {second}) "
        f"REFERENCES {target} ({first}, id) DEFERRABLE INITIALLY DEFERRED",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


def append_only(table: str) -> RunSQL:
    """A trigger that refuses UPDATE and DELETE, whoever asks. (TRUNCATE is the owner role's alone.)"""
    return RunSQL(
        f"""
        CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$;
        CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {table}_refuse();
        """,
        f"DROP TRIGGER {table}_append_only ON {table}; DROP FUNCTION {table}_refuse();",
    )


_EVERYTHING = "(SELECT current_setting('slipstream.organizations', true)) = '*'"
_SEEN = (
    "(SELECT string_to_array(nullif(nullif(current_setting('slipstream.organizations', true), '*'), ''), ',')::uuid[])"
    "::uuid[]"
)


def row_security(table: str, column: str = "organization_id") -> RunSQL:
    """Rows are seen and written only for organizations named by the setting (`common/isolation.py`).

    The settings are read in scalar subqueries, once for each statement and not for each row.
    """
    return _policy(table, may_see(column))


def may_see(column: str) -> str:
    """The policy's condition. A CASE, because PostgreSQL would take an OR for something that hardly any row passes,
    on top of the organization that every query names, and choose plans for a handful of rows."""
    return f"CASE WHEN {_EVERYTHING} THEN true ELSE {column} = ANY ({_SEEN}) END"


def row_security_through(table: str, column: str, parent: str, *, key: str = "id") -> RunSQL:
    """For a row without an organization, which is its parent's: it is seen and written where the parent is seen."""
    seen = f"EXISTS (SELECT FROM {parent} WHERE {parent}.{key} = {table}.{column})"
    return _policy(table, f"CASE WHEN {_EVERYTHING} THEN true ELSE {seen} END")


def _policy(table: str, allowed: str) -> RunSQL:
    return RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; "
        f"CREATE POLICY tenant ON {table} USING ({allowed}) WITH CHECK ({allowed})",
        f"DROP POLICY tenant ON {table}; ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; "
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    )


def page_index(table: str, column: str = "organization_id") -> RunSQL:
    """An organization's newest rows, in order: without it a page sorts all of the organization's rows, or walks
    everybody's."""
    return RunSQL(f"CREATE INDEX {table}_page ON {table} ({column}, id)", f"DROP INDEX {table}_page")
