"""`make bench-api`: the management API with 10,000 projects and a million usage events, measured server-side.

Seeds an embedded PostgreSQL in var/bench/management (kept for the next time), then sends every GET of the URLconf, as
a small and as a big organization, through Django's handler in this process: middleware, authentication, row-level
security under the runtime role, serialization; without a socket. (An S3 server holds the traffic of the projects whose
export is measured.) Then: a node's snapshot, its poll, a usage batch.
Writes var/bench/management.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from infra.local.postgres import SUPERUSER, Postgres
from infra.local.seaweedfs import SeaweedFS

REPOSITORY = Path(__file__).resolve().parent.parent.parent.parent


class Clock:
    """Prints what is going on, and when."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {text}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured and within the goals, 1 measured and not, or something could not be measured."""
    parser = argparse.ArgumentParser(
        prog="make bench-api", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="400 projects and 20,000 events: a minute")
    parser.add_argument("--fresh", action="store_true", help="make the data set again")
    parser.add_argument("--repeat", type=int, default=30, help="requests of each path (default 30)")
    parser.add_argument("--only", default="", help="only paths that contain this")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "var" / "bench", help="database and report")
    given = parser.parse_args(arguments)
    say = Clock()
    name = "management-quick" if given.quick else "management"
    with (
        tempfile.TemporaryDirectory() as scratch,
        Postgres(given.folder / name, durable=not given.quick) as postgres,
        SeaweedFS(Path(scratch) / "s3") as s3,
    ):
        say("PostgreSQL and S3 are ready; migrating")
        os.environ |= _settings(postgres) | s3.client_environment
        os.environ["SLIPSTREAM_EMAIL_URL"] = f"file://{scratch}/mail"
        _migrate(postgres)
        import django

        django.setup()
        from django.conf import settings

        settings.DEBUG = settings.WHITENOISE_AUTOREFRESH = False
        from control_plane.common.startup import keep_what_is_loaded
        from infra.bench.management import measure, report, seed

        size = seed.QUICK if given.quick else seed.FULL
        found = seed.prepare(postgres.url_for(SUPERUSER), size, fresh=given.fresh, say=say)
        keep_what_is_loaded()  # as the server does
        say("measuring")
        measured = measure.measure(found, repeat=given.repeat, only=given.only, say=say)
        written = given.folder / f"{name}.json"
        within = report.write(measured, written)
        print(f"\nReport: {written}")
        return 0 if within else 1


def _settings(postgres: Postgres) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "control_plane.settings",
        "DATABASE_URL": postgres.url,
        "DATABASE_OWNER_URL": postgres.owner_url,
        "BROKER_URL": "memory://",
        "SLIPSTREAM_DEBUG": "1",  # supplies secrets; Django's own debug mode is turned off below
        "SLIPSTREAM_API_REQUESTS_PER_MINUTE": "0",
        "SLIPSTREAM_LOG_LEVEL": "ERROR",
    }


def _migrate(postgres: Postgres) -> None:
    environment = os.environ | {"DATABASE_URL": postgres.owner_url}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--no-input"]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
