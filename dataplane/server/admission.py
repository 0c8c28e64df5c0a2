"""Who may do what: keys, endpoints, limits and the speculation that a request gets. All from the snapshot in memory.

Another project's endpoint is the same 404 as one that doesn't exist, and so is one that the key is not for; a wrong,
unknown, expired or foreign key is the same 401, and so is one that may not be used from where the request comes.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dataplane.contracts import DeploymentConfig, EndpointConfig, KeyDigest, Limits, ProjectConfig, is_allowed_from
from dataplane.errors import AuthenticationFailed, NotFound, PermissionDenied, RateLimited
from dataplane.server.schemas import Speculation
from dataplane.speculation.types import Mode, SpeculationPolicy
from dataplane.stamps import parse_timestamp
from dataplane.sync.snapshot import AppliedSnapshot
from dataplane.traffic.record import hash_share

_KEY = re.compile(r"sls_[a-z0-9]{1,16}_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}")
_RANK: dict[Mode, int] = {"off": 0, "static": 1, "adaptive": 2}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is."""

    key: KeyDigest
    project: ProjectConfig

    def may_call(self, endpoint: EndpointConfig) -> bool:
        return not self.key.endpoints or endpoint.name in self.key.endpoints

    def require(self, scope: str) -> None:
        """Raises PermissionDenied."""
        if scope not in self.key.scopes:
            raise PermissionDenied(f"The API key has no scope {scope}.")


class Pepper:
    """The secret under which keys are digested."""

    def __init__(self, pepper: str, pepper_id: str) -> None:
        self._pepper = pepper.encode()
        self.pepper_id = pepper_id

    def digest(self, key: str) -> str:
        """HMAC-SHA256 of the whole key, hexadecimal: as `KeyDigest.digest`."""
        return hmac.new(self._pepper, key.encode(), hashlib.sha256).hexdigest()


def authenticate(
    authorization: str | None,
    snapshot: AppliedSnapshot,
    pepper: Pepper,
    *,
    address: str | None = None,
    now: datetime | None = None,
) -> Caller:
    """The owner of the key in `Authorization: Bearer …`, sent from `address`. Raises AuthenticationFailed.

    The expiry is this node's own business, by its own clock: it needs no word from the control plane.
    """
    if not authorization:
        raise AuthenticationFailed("No API key was sent. Send it as: Authorization: Bearer <key>.", code="no_api_key")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not _KEY.fullmatch(key.strip()):
        raise AuthenticationFailed("The API key is not valid.")
    digest = pepper.digest(key.strip())
    # Looked up by the digest: its bytes depend on the secret pepper, so lookup times tell a guesser nothing.
    found = snapshot.keys.get(digest)
    if found is None or found.pepper_id != pepper.pepper_id or not hmac.compare_digest(found.digest, digest):
        raise AuthenticationFailed("The API key is not valid.")
    if found.expires_at is not None and parse_timestamp(found.expires_at) <= (now or datetime.now(UTC)):
        raise AuthenticationFailed("The API key is not valid.")
    if not is_allowed_from(address, found.allowed_ips):
        raise AuthenticationFailed("The API key is not valid.")
    return Caller(found, snapshot.projects[found.project_id])


def endpoint_of(caller: Caller, name: str, snapshot: AppliedSnapshot) -> EndpointConfig:
    """The caller's own endpoint `name`, if the key is for it. Raises NotFound."""
    endpoint = snapshot.endpoints.get((caller.project.project_id, name))
    if endpoint is None or not caller.may_call(endpoint):
        shown = name[:100]
        raise NotFound(f"The model {shown!r} does not exist.", param="model", code="model_not_found")
    return endpoint


def deployment_of(endpoint: EndpointConfig, *, request_id: str) -> DeploymentConfig:
    """Which of the endpoint's deployments serves the request: by weight, from a hash of the request's id."""
    point = hash_share(request_id, "deployment") * sum(deployment.weight for deployment in endpoint.deployments)
    for deployment in endpoint.deployments:
        if point < deployment.weight:
            return deployment
        point -= deployment.weight
    return DeploymentConfig(
        deployment_id=endpoint.deployment_id,
        weight=10_000,
        speculation_mode=endpoint.speculation_mode,
        max_lookahead=endpoint.max_lookahead,
        holdout_rate=endpoint.holdout_rate,
        speculator=endpoint.speculator,
    )


def speculation_policy(
    deployment: DeploymentConfig, wish: Speculation | None, *, request_id: str, remember: bool
) -> SpeculationPolicy:
    """What the request gets: the deployment's policy, lowered by the request's own wish or by the hold-out.

    A share of `holdout_rate` of the adaptive requests without a wish is served statically: the live comparison.
    """
    mode: Mode = deployment.speculation_mode
    max_lookahead = deployment.max_lookahead
    if wish is not None:
        mode = min(mode, wish.mode or mode, key=_RANK.__getitem__)
        if wish.max_lookahead is not None:
            max_lookahead = min(max_lookahead, wish.max_lookahead)
    elif mode == "adaptive" and hash_share(request_id, "holdout") < deployment.holdout_rate:
        mode = "static"
    if max_lookahead == 0:
        mode = "off"
    return SpeculationPolicy(mode, 0 if mode == "off" else max_lookahead, remember=remember and mode == "adaptive")


# ------------------------------------------------------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit as the x-ratelimit headers show it."""

    limit: int
    remaining: int
    reset_seconds: float


def limit_headers(states: Mapping[str, LimitState]) -> dict[str, str]:
    """OpenAI's x-ratelimit headers, and the same in the IETF's form (draft-ietf-httpapi-ratelimit-headers-10)."""
    headers = {}
    if states:
        headers["ratelimit-policy"] = ", ".join(f'"{name}";q={state.limit};w=60' for name, state in states.items())
        headers["ratelimit"] = ", ".join(
            f'"{name}";r={state.remaining};t={math.ceil(state.reset_seconds)}' for name, state in states.items()
        )
    for name, state in states.items():
        headers[f"x-ratelimit-limit-{name}"] = str(state.limit)
        headers[f"x-ratelimit-remaining-{name}"] = str(state.remaining)
        headers[f"x-ratelimit-reset-{name}"] = f"{state.reset_seconds:.3f}s"
    return headers


class _Bucket:
    """A token bucket: `per_minute` at once, refilled evenly over a minute. It may go into debt."""

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self.level = float(per_minute)
        self.filled_at = now

    def refill(self, per_minute: int, now: float) -> None:
        if per_minute != self.per_minute:
            self.level += per_minute - self.per_minute
            self.per_minute = per_minute
        self.level = min(float(per_minute), self.level + (now - self.filled_at) * per_minute / 60.0)
        self.filled_at = now

    def wait_seconds(self, amount: float) -> float:
        """Until `amount` (or as much as the bucket holds) is there; infinite if the limit is 0."""
        missing = min(amount, float(self.per_minute)) - self.level
        if self.per_minute <= 0:
            return math.inf
        return max(0.0, missing * 60.0 / self.per_minute)

    def state(self) -> LimitState:
        full_in = (self.per_minute - self.level) * 60.0 / self.per_minute if self.per_minute > 0 else 60.0
        return LimitState(self.per_minute, max(0, int(self.level)), max(0.0, full_in))


class RateLimiter:
    """Per-project limits on this node. Thread-safe.

    Prompt tokens are charged when a request is admitted, output tokens when it has ended: a project may overshoot its
    tokens per minute by what its running requests produce, and waits that much longer afterwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: dict[str, _Bucket] = {}
        self._tokens: dict[str, _Bucket] = {}
        self._running: dict[str, int] = {}

    def admit(self, project_id: str, limits: Limits, prompt_tokens: int) -> dict[str, LimitState]:
        """Charge one request. Returns the limits by name ("requests", "tokens"). Raises RateLimited."""
        with self._lock:
            now = self._clock()
            requests = self._bucket(self._requests, project_id, limits.requests_per_minute, now)
            tokens = self._bucket(self._tokens, project_id, limits.tokens_per_minute, now)
            running = self._running.get(project_id, 0)
            if limits.max_concurrent_requests is not None and running >= limits.max_concurrent_requests:
                raise RateLimited(
                    f"The project runs {running} requests, its limit of concurrent requests.",
                    code="concurrency_limit_exceeded",
                    retry_after=1.0,
                    headers=limit_headers(self._states(project_id)),
                )
            for name, bucket, amount in (("requests", requests, 1), ("tokens", tokens, prompt_tokens)):
                wait = bucket.wait_seconds(amount) if bucket else 0.0
                if bucket and wait > 0.0:
                    raise RateLimited(
                        f"The project's limit of {bucket.per_minute} {name} per minute is reached.",
                        retry_after=min(wait, 60.0),
                        headers=limit_headers(self._states(project_id)),
                    )
            if requests:
                requests.level -= 1
            if tokens:
                tokens.level -= prompt_tokens
            self._running[project_id] = running + 1
            return self._states(project_id)

    def end(self, project_id: str, completion_tokens: int) -> None:
        """An admitted request has ended."""
        with self._lock:
            self._running[project_id] -= 1
            if not self._running[project_id]:
                del self._running[project_id]
            if project_id in self._tokens:
                self._tokens[project_id].level -= completion_tokens

    def in_flight(self) -> dict[str, int]:
        """Requests that were admitted and have not ended, by project."""
        with self._lock:
            return dict(self._running)

    def states(self, project_id: str) -> dict[str, LimitState]:
        with self._lock:
            return self._states(project_id)

    def _states(self, project_id: str) -> dict[str, LimitState]:
        named = {"requests": self._requests.get(project_id), "tokens": self._tokens.get(project_id)}
        return {name: bucket.state() for name, bucket in named.items() if bucket is not None}

    @staticmethod
    def _bucket(buckets: dict[str, _Bucket], project_id: str, per_minute: int | None, now: float) -> _Bucket | None:
        if per_minute is None:
            buckets.pop(project_id, None)
            return None
        bucket = buckets.setdefault(project_id, _Bucket(per_minute, now))
        bucket.refill(per_minute, now)
        return bucket
