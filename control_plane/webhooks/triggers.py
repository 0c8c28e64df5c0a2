"""The outbox's writers: PostgreSQL itself notes what is appended to the event tables, in the same transaction.

Reading those tables afterwards ("ids above the last one seen") would lose a row whose transaction took its id early and
committed late. A row of the outbox is seen when its transaction has committed, and is deleted with the deliveries that
it became: neither twice nor never.
"""

from __future__ import annotations

from django.db.migrations import RunSQL

_WANTED = "EXISTS (SELECT FROM webhooks_webhook w WHERE w.organization_id = {organization} AND w.enabled)"


def announce_states(table: str, source: str, subjects: str) -> RunSQL:
    """Events of a state machine: their organization is their subject's."""
    return _announce(
        table,
        f"SELECT gen_random_uuid(), s.organization_id, '{source}', NEW.id::text, clock_timestamp() "
        f"FROM {subjects} s WHERE s.id = NEW.subject_id AND {_WANTED.format(organization='s.organization_id')}",
    )


def announce_rows(table: str, source: str) -> RunSQL:
    """Rows that name their organization themselves."""
    return _announce(
        table,
        f"SELECT gen_random_uuid(), NEW.organization_id, '{source}', NEW.id::text, clock_timestamp() "
        f"WHERE {_WANTED.format(organization='NEW.organization_id')}",
    )


def _announce(table: str, selected: str) -> RunSQL:
    return RunSQL(
        f"""
        CREATE FUNCTION {table}_announce() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO webhooks_occurrence (id, organization_id, source, source_id, created_at) {selected};
            RETURN NULL;
        END $$;
        CREATE TRIGGER {table}_announce AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_announce();
        """,
        f"DROP TRIGGER {table}_announce ON {table}; DROP FUNCTION {table}_announce();",
    )
