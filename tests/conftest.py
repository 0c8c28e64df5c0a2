"""The real services that tests run against, each started once and only if a test asks for it.

Django's tests use the embedded PostgreSQL with the roles of production: the owner role migrates, the tests run as the
runtime role. A database, a broker or a bucket is never faked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import pytest

from infra.local.postgres import OWNER_ROLE, RUNTIME_ROLE, Postgres
from infra.local.seaweedfs import SeaweedFS
from infra.local.valkey import Valkey

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL = REPOSITORY / "var" / "models" / "smollm2-135m-instruct"

# Before pytest-django reads the settings. The addresses are replaced by the fixtures below when a test needs them:
# port 9 is the discard port, where nothing answers.
os.environ.update(
    DJANGO_SETTINGS_MODULE="control_plane.settings",
    TRITON_INTERPRET="1",  # kernels run in Python on CPU tensors; read when triton is first imported
    DATABASE_URL="postgresql://slipstream:unused@127.0.0.1:9/slipstream",
    DATABASE_OWNER_URL="postgresql://slipstream_owner:unused@127.0.0.1:9/slipstream",
    BROKER_URL="redis://127.0.0.1:9/0",
    S3_ENDPOINT_URL="http://127.0.0.1:9",
    S3_ACCESS_KEY_ID="unused",
    S3_SECRET_ACCESS_KEY="unused",
    S3_BUCKET="slipstream",
    S3_REGION="us-east-1",
    SLIPSTREAM_SECRET_KEY="a secret for tests only, long enough for every check of Django",
    SLIPSTREAM_KEY_PEPPER="a pepper for tests only",
    SLIPSTREAM_KEY_PEPPER_ID="test",
    SLIPSTREAM_SIGNING_KEY="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",  # Ed25519 seed 00 01 .. 1f, base64
    SLIPSTREAM_SIGNING_KEY_ID="test",
    SLIPSTREAM_EMAIL_URL="file:///unused",  # pytest-django keeps mails in memory
    SLIPSTREAM_PUBLIC_INFERENCE_URL="http://127.0.0.1:9",
    SLIPSTREAM_LOG_LEVEL="WARNING",
)
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "2")
django.setup()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server for this session."""
    with Postgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The runtime role's URL of the database `slipstream`, empty unless the test migrates it."""
    return postgres.url


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server with one bucket: `s3.client()`, `s3.client_environment`. Use prefixes of your own."""
    with SeaweedFS(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_settings(s3: SeaweedFS, settings: Any) -> SeaweedFS:
    """The S3 server, with Django's settings pointing at it."""
    for name, value in s3.client_environment.items():
        setattr(settings, name, value)
    return s3


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The folder of SmolLM2-135M-Instruct; converted on first use."""
    from dataplane.models.weights import main

    if not (MODEL / "model.safetensors").exists():
        main(["--out", str(MODEL)])
    return MODEL


@pytest.fixture(scope="session")
def django_db_setup(postgres: Postgres, django_db_blocker: Any) -> None:
    """The schema, migrated by the owner role; afterwards the connection is the runtime role's, as in production."""
    from django.core.management import call_command
    from django.db import connection, connections

    def connect_as(role: str) -> None:
        address = urlsplit(postgres.url_for(role))
        connections.close_all()
        for settings in connections.settings.values():
            settings |= {
                "HOST": address.hostname,
                "PORT": str(address.port),
                "USER": address.username,
                "PASSWORD": address.password,
                "NAME": address.path.lstrip("/"),
            }

    with django_db_blocker.unblock():
        connect_as(OWNER_ROLE)
        call_command("migrate", verbosity=0, interactive=False)
        with connection.cursor() as cursor:  # TransactionTestCase empties tables with TRUNCATE
            cursor.execute(f"GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO {RUNTIME_ROLE}")
        connect_as(RUNTIME_ROLE)
