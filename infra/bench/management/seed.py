"""The whole data set: about 1,000 organizations with 10,000 projects, two of them big, and a million usage events.

Kept in the database's folder: it is made again when this package has changed, or on demand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from infra.bench.management import template
from infra.bench.management.multiply import Copies, Multiplier

SHARES = (40, 10)  # percent of the events that are the two big organizations'; the others share the rest
DAYS = 60


@dataclass(frozen=True, slots=True)
class Size:
    organizations: int
    big_copies: int  # copies of an organization's projects inside of the first big one; the second has a fifth
    events: int


FULL = Size(organizations=810, big_copies=160, events=1_000_000)
QUICK = Size(organizations=40, big_copies=8, events=20_000)


@dataclass(frozen=True, slots=True)
class Seed:
    """Whom to measure: typed ids of organizations."""

    small: str
    big: tuple[str, str]


def prepare(superuser_url: str, size: Size, *, fresh: bool, say: Callable[[str], None]) -> Seed:
    """The data set, new or kept. Call it after `django.setup()` with the schema migrated."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        wanted = _fingerprint(size)
        connection.execute("CREATE TABLE IF NOT EXISTS bench_seed (fingerprint text, small text, big text[])")
        kept = connection.execute("SELECT fingerprint, small, big FROM bench_seed").fetchone()
        if kept is not None and kept[0] == wanted and not fresh:
            say("the data set is kept from before")
            return Seed(kept[1], (kept[2][0], kept[2][1]))
        _empty(connection)
        seed = _make(connection, size, say)
        connection.execute("INSERT INTO bench_seed VALUES (%s, %s, %s)", [wanted, seed.small, list(seed.big)])
        return seed


def _fingerprint(size: Size) -> str:
    """What the data depend on. (A new migration is applied to kept data; tables that it makes are empty until then.)"""
    sources = [Path(__file__).with_name(name).read_text() for name in ("seed.py", "multiply.py", "template.py")]
    return hashlib.sha256(repr((size, sources)).encode()).hexdigest()


def _empty(connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'django_migrations'"
    ).fetchall()
    connection.execute("TRUNCATE " + ", ".join(name for (name,) in rows))


def _make(connection: psycopg.Connection[Any], size: Size, say: Callable[[str], None]) -> Seed:
    from control_plane.billing import rollups

    say("one organization, by the services")
    models = template.make_models()
    made = template.make_organization(models[0])
    big = [template.make_big(name) for name in ("Big", "Second")]
    with psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True) as own:
        multiplier = Multiplier(own, made.organization)
        say(f"{size.organizations} organizations of {template.PROJECTS} projects")
        by_organization = f"'bench-' || (k % {template.MODELS})"
        multiplier.copy(Copies(1, size.organizations, model=by_organization), say)
        start = 1_000_000
        for organization, copies in zip(big, (size.big_copies, size.big_copies // 5), strict=True):
            say(f"{copies * template.PROJECTS} projects in one organization")
            multiplier.copy(Copies(start, start + copies - 1, organization.organization, by_organization), say)
            start += 1_000_000
        say(f"{size.events} usage events")
        _usage(own, [one.organization for one in big], made, size.events)
        say("sums of their days")
        rollups.rebuild()
        say("statistics")
        own.execute("VACUUM ANALYZE")
    return Seed(made.organization_id, (big[0].organization_id, big[1].organization_id))


def _usage(connection: psycopg.Connection[Any], big: list[str], made: template.Template, events: int) -> None:
    """Events over the last DAYS days, copied from one that came in as a node sends them; few endpoints have most."""
    first, first_share, both = template.ingest_one(made), SHARES[0], sum(SHARES)
    rows = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'billing_usageevent'::regclass "
        "AND attnum > 0 AND NOT attisdropped AND attname <> 'id' ORDER BY attnum"
    ).fetchall()
    values = {name: f't."{name}"' for (name,) in rows} | {
        "event_id": "'evt_' || lpad(n::text, 26, '0')",
        "organization_id": "p.organization_id",
        "project_id": "p.project_id",
        "endpoint_id": "p.endpoint_id",
        "key_id": "p.key_id",
        "model": "p.model_id",
        "finished_at": "m.at",
        "started_at": "m.at - interval '1 second'",
        "received_at": "m.at + interval '2 seconds'",
        "prompt_tokens": "100 + mod(n, 400)",
        "completion_tokens": "20 + mod(n, 200)",
        "seq": "n + 10",
        "payload_sha256": "md5(n::text) || md5(n::text)",
    }
    connection.execute(_PLACES.format(*big))
    connection.execute("CREATE INDEX ON places (share, place); ANALYZE places")
    connection.execute(
        f"""
        INSERT INTO billing_usageevent ({", ".join(f'"{name}"' for name in values)}) SELECT {", ".join(values.values())}
        FROM generate_series(1, {events}) n
        CROSS JOIN LATERAL (
            SELECT CASE WHEN mod(n, 100) < {first_share} THEN 0 WHEN mod(n, 100) < {both} THEN 1 ELSE 2 END AS share,
                   now() - interval '{DAYS} days' * mod(n * 7919::bigint, {events}) / {events} AS at,
                   power(random(), 3) AS lot
        ) m
        JOIN sizes s USING (share)
        JOIN places p ON p.share = m.share AND p.place = 1 + floor(s.places * m.lot)
        CROSS JOIN (SELECT * FROM billing_usageevent WHERE event_id = '{first}') t
        """
    )


# The endpoints of both big organizations (shares 0 and 1) and of all others (2), numbered, each with a key.
_PLACES = """
CREATE TEMP TABLE places AS
SELECT share, row_number() OVER (PARTITION BY share ORDER BY endpoint_id) AS place,
       organization_id, project_id, endpoint_id, key_id, model_id
FROM (
    SELECT CASE e.organization_id::text WHEN '{}' THEN 0 WHEN '{}' THEN 1 ELSE 2 END AS share,
           e.organization_id, e.project_id, e.id AS endpoint_id, e.model_id, k.id AS key_id
    FROM endpoints_endpoint e
    CROSS JOIN LATERAL (SELECT id FROM tenants_apikey a WHERE a.project_id = e.project_id ORDER BY id LIMIT 1) k
) found;
CREATE TEMP TABLE sizes AS SELECT share, count(*) AS places FROM places GROUP BY share;
"""
