"""Limits over a real Valkey."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from control_plane.common.throttling import Buckets, Limit
from infra.local.valkey import Valkey
from tests.control_plane.tenant import Api, Tenant


@pytest.fixture
def limited(valkey: Valkey, settings: Any, request: Any) -> Any:
    """The service with limits of 3 requests and 2 failures a minute."""
    settings.BROKER_URL = valkey.url
    settings.SLIPSTREAM_API_REQUESTS_PER_MINUTE = 3
    settings.SLIPSTREAM_API_FAILURES_PER_MINUTE = 2
    Buckets(valkey.url)._client.flushdb()
    return settings


def test_a_principal_that_asks_too_often_waits(limited: Any, alice: Tenant, bob: Tenant) -> None:
    answers = [alice.api.get("/api/v1/projects") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"management";q=3;w=60'
    assert answers[0].headers["RateLimit"] == '"management";r=2;t=20'
    refused = answers[-1]
    assert refused.json()["code"] == "throttled"
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["RateLimit"].startswith('"management";r=0;t=')
    assert bob.api.get("/api/v1/projects").status_code == 200


def test_an_address_that_fails_too_often_is_not_even_looked_up(limited: Any, alice: Tenant) -> None:
    stranger = Api("slm_000000000000_wrong")
    assert [stranger.get("/api/v1/projects").status_code for _ in range(3)] == [401, 401, 429]
    refused = stranger.get("/api/v1/projects")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["RateLimit-Policy"] == '"unauthenticated";q=2;w=60'


def test_requests_without_any_credentials_count_as_failures(limited: Any, db: None) -> None:
    assert [Api().get("/api/v1/projects").status_code for _ in range(3)] == [401, 401, 429]


def test_a_bucket_fills_again_with_time(valkey: Valkey) -> None:
    buckets, limit = Buckets(valkey.url), Limit("test", quota=20, window_seconds=1)
    who = f"refill-{time.monotonic_ns()}"
    assert all(standing.allowed for standing in [buckets.take(limit, who) for _ in range(20)] if standing)
    refused = buckets.take(limit, who)
    assert refused is not None and not refused.allowed and 0 < refused.retry_after <= 0.05
    time.sleep(refused.retry_after + 0.02)
    again = buckets.take(limit, who)
    assert again is not None and again.allowed


def test_looking_takes_nothing(valkey: Valkey) -> None:
    buckets, limit = Buckets(valkey.url), Limit("test", quota=2)
    who = f"look-{time.monotonic_ns()}"
    for _ in range(5):
        seen = buckets.take(limit, who, cost=0)
        assert seen is not None and seen.allowed and seen.remaining == 2


def test_callers_at_the_same_time_never_take_more_than_there_is(valkey: Valkey) -> None:
    buckets, limit = Buckets(valkey.url), Limit("test", quota=10, window_seconds=600)
    who, taken = f"twins-{time.monotonic_ns()}", []

    def take() -> None:
        for _ in range(5):
            standing = buckets.take(limit, who)
            assert standing is not None
            taken.append(standing.allowed)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 10


def test_without_valkey_requests_pass(alice: Tenant, settings: Any) -> None:
    settings.BROKER_URL = "redis://127.0.0.1:9/7"
    settings.SLIPSTREAM_API_REQUESTS_PER_MINUTE = 1
    assert [alice.api.get("/api/v1/projects").status_code for _ in range(3)] == [200, 200, 200]
