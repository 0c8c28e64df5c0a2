"""Limits on the management API: how often one principal may ask, and how often one address may fail to say who it is.

A token bucket, kept as the one number of the generic cell rate algorithm (the time at which the bucket is full again)
in the broker's Valkey: every process sees it, no row of PostgreSQL is locked for it, and an unused bucket expires by
itself. Where Valkey doesn't answer, requests pass unlimited: the limits protect the service, they don't guard secrets.

The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "management";q=600;w=60` and
`RateLimit: "management";r=599;t=1`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings

from control_plane.common.addresses import client_address

logger = logging.getLogger(__name__)

# KEYS[1]: the bucket. ARGV: tokens a second, capacity, cost. All times in seconds of the server's clock, so that
# processes with different clocks agree. Returns taken (0 or 1), tokens left, seconds until it is full, seconds to wait.
_TAKE = """
local rate, capacity, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local after = full_at + cost / rate
local wait = after - now - capacity / rate
if wait > 0 then
  return {0, math.floor((capacity / rate - (full_at - now)) * rate), tostring(full_at - now), tostring(wait)}
end
if cost > 0 then
  redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1000)
end
return {1, math.floor((capacity / rate - (after - now)) * rate), tostring(after - now), '0'}
"""
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limit:
    """`quota` requests in any `window_seconds`: a bucket of `quota` tokens that fills in `window_seconds`."""

    name: str
    quota: int
    window_seconds: int = 60

    @property
    def policy(self) -> str:
        """Value of `RateLimit-Policy`."""
        return f'"{self.name}";q={self.quota};w={self.window_seconds}'


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands. reset_seconds: until the whole quota is there again. retry_after: seconds, 0: go on."""

    limit: Limit
    allowed: bool
    remaining: int
    reset_seconds: float
    retry_after: float

    @property
    def headers(self) -> dict[str, str]:
        remaining, reset = max(self.remaining, 0), math.ceil(self.reset_seconds)
        return {
            "RateLimit-Policy": self.limit.policy,
            "RateLimit": f'"{self.limit.name}";r={remaining};t={reset}',
        }


def management_limit() -> Limit:
    return Limit("management", settings.SLIPSTREAM_API_REQUESTS_PER_MINUTE)


def failure_limit() -> Limit:
    return Limit("unauthenticated", settings.SLIPSTREAM_API_FAILURES_PER_MINUTE)


class Buckets:
    """Token buckets in one Valkey. `take` answers None while that can't be reached."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)
        self._script = self._client.register_script(_TAKE)
        self._lock = threading.Lock()
        self._resume_at = 0.0  # while it is down, not every request waits for it

    def take(self, limit: Limit, who: str, *, cost: int = 1) -> Standing | None:
        """Take `cost` tokens from the bucket of `who`; with 0, only look whether it holds one."""
        if time.monotonic() < self._resume_at:
            return None
        rate = limit.quota / limit.window_seconds
        try:
            taken, remaining, reset, wait = self._script(
                keys=[f"slipstream:limit:{limit.name}:{who}"], args=[rate, limit.quota, cost]
            )
        except redis.RedisError as error:
            with self._lock:
                self._resume_at = time.monotonic() + _RETRY_SECONDS
            logger.warning("limits are not enforced for %.0f s: %s", _RETRY_SECONDS, error)
            return None
        empty = cost == 0 and int(remaining) < 1
        return Standing(
            limit=limit,
            allowed=bool(taken) and not empty,
            remaining=int(remaining),
            reset_seconds=float(reset),
            retry_after=1 / rate if empty else float(wait),
        )


@lru_cache(maxsize=4)
def _buckets_at(url: str) -> Buckets:
    return Buckets(url)


def buckets() -> Buckets | None:
    """The service's buckets; None where the broker is no Valkey or Redis: then nothing is limited."""
    url = settings.BROKER_URL
    return _buckets_at(url) if url.startswith(("redis://", "rediss://", "unix://")) else None


def take(limit: Limit, who: str, *, cost: int = 1) -> Standing | None:
    found = buckets()
    return None if found is None or limit.quota <= 0 else found.take(limit, who, cost=cost)


def address_of(request: Any) -> str:
    """The client's address, else the peer's: of the proxy, where one stands before the service unannounced."""
    return client_address(request) or str(request.META.get("REMOTE_ADDR", "")) or "unknown"
