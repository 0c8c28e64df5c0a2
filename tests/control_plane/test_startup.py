"""The service refuses to start on a configuration that is unsafe, and says which part of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.test import Client

from infra.local.postgres import SUPERUSER, Postgres


def _start(**changes: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in (os.environ | changes).items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", "import control_plane.wsgi"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["SLIPSTREAM_SECRET_KEY", "SLIPSTREAM_KEY_PEPPER", "DATABASE_URL"])
def test_a_missing_secret_is_named(name: str) -> None:
    done = _start(**{name: None})
    assert done.returncode != 0
    assert f"{name} is not set" in done.stderr


def test_a_superuser_is_refused(postgres: Postgres) -> None:
    done = _start(DATABASE_URL=postgres.url_for(SUPERUSER))
    assert done.returncode != 0
    assert "use the runtime role" in done.stderr
    assert _start(DATABASE_URL=postgres.url).returncode == 0


def test_a_path_that_does_not_exist_answers_in_the_form_of_its_surface(db: None) -> None:
    assert Client().get("/api/v1/nothing").headers["Content-Type"] == "application/problem+json"
    assert Client().get("/internal/v1/nothing").headers["Content-Type"] == "application/problem+json"
    page = Client().get("/nothing")
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
