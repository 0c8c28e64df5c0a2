"""Keys, limits and the speculation that a request gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dataplane.contracts import DeploymentConfig, EndpointConfig, Limits, Snapshot
from dataplane.errors import AuthenticationFailed, RateLimited
from dataplane.server.admission import Pepper, RateLimiter, authenticate, deployment_of, speculation_policy
from dataplane.server.schemas import Speculation
from dataplane.sync.snapshot import AppliedSnapshot
from tests.dataplane.server.conftest import KEYS, PEPPER, snapshot

DEPLOYMENT = DeploymentConfig("dep", 10_000, "adaptive", 8, holdout_rate=0.1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_belongs_to_its_project_until_it_expires() -> None:
    applied = AppliedSnapshot.of(snapshot())
    assert authenticate(f"Bearer {KEYS['alice']}", applied, PEPPER).project.project_id == "prj_alice"
    before = datetime(2019, 12, 31, tzinfo=UTC)
    assert authenticate(f"Bearer {KEYS['expired']}", applied, PEPPER, now=before).key.key_id == "key_expired"
    with pytest.raises(AuthenticationFailed):
        authenticate(f"Bearer {KEYS['expired']}", applied, PEPPER)


def test_a_digest_under_another_pepper_never_matches() -> None:
    applied = AppliedSnapshot.of(snapshot())
    for pepper in (Pepper("other", "1"), Pepper("pepper", "2")):
        with pytest.raises(AuthenticationFailed):
            authenticate(f"Bearer {KEYS['alice']}", applied, pepper)


def test_a_key_of_a_project_that_is_not_on_this_node_is_unknown() -> None:
    orphaned = replace(snapshot(), projects=())
    with pytest.raises(AuthenticationFailed):
        authenticate(f"Bearer {KEYS['alice']}", AppliedSnapshot.of(orphaned), PEPPER)


@pytest.mark.parametrize(
    ("wish", "mode", "lookahead"),
    [
        (Speculation(), "adaptive", 8),
        (Speculation(mode="static"), "static", 8),
        (Speculation(mode="off"), "off", 0),
        (Speculation(max_lookahead=3), "adaptive", 3),
        (Speculation(max_lookahead=30), "adaptive", 8),
        (Speculation(max_lookahead=0), "off", 0),
    ],
)
def test_a_wish_lowers_the_endpoints_policy_and_is_never_held_out(wish: Speculation, mode: str, lookahead: int) -> None:
    deployment = replace(DEPLOYMENT, holdout_rate=1.0)
    policy = speculation_policy(deployment, wish, request_id="req", remember=True)
    assert (policy.mode, policy.max_lookahead, policy.remember) == (mode, lookahead, mode == "adaptive")


@pytest.mark.parametrize("mode", ["off", "static"])
def test_a_wish_never_raises_the_endpoints_policy(mode: str) -> None:
    deployment = replace(DEPLOYMENT, speculation_mode=mode)  # type: ignore[arg-type]
    assert speculation_policy(deployment, Speculation(mode="adaptive"), request_id="r", remember=False).mode == mode


def test_deployments_share_the_requests_by_their_weights() -> None:
    deployments = tuple(DeploymentConfig(f"dep_{weight}", weight) for weight in (0, 500, 9_500))
    endpoint = EndpointConfig("ep", "prj", "dep_9500", "assistant", "m", deployments=deployments)
    chosen = [deployment_of(endpoint, request_id=f"req_{number}").deployment_id for number in range(4000)]
    assert 140 < chosen.count("dep_500") < 260
    assert chosen.count("dep_0") == 0
    assert chosen.count("dep_500") + chosen.count("dep_9500") == 4000


def test_an_older_snapshot_without_deployments_is_served_by_its_only_one() -> None:
    endpoint = EndpointConfig("ep", "prj", "dep_1", "assistant", "m", "static", 5, holdout_rate=0.25)
    assert deployment_of(endpoint, request_id="req") == DeploymentConfig("dep_1", 10_000, "static", 5, 0.25)


def test_the_holdout_is_a_fixed_share_by_request_id() -> None:
    def mode(number: int) -> str:
        return speculation_policy(DEPLOYMENT, None, request_id=f"req_{number}", remember=False).mode

    modes = [mode(number) for number in range(2000)]
    assert 150 < modes.count("static") < 250
    assert modes == [mode(number) for number in range(2000)]


def test_requests_per_minute_refill_evenly() -> None:
    clock = Clock()
    limiter, limits = RateLimiter(clock), Limits(requests_per_minute=60)
    for _ in range(60):
        limiter.admit("prj", limits, 1)
    with pytest.raises(RateLimited) as caught:
        limiter.admit("prj", limits, 1)
    assert caught.value.retry_after == pytest.approx(1.0)
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    clock.now = 1.0
    limiter.admit("prj", limits, 1)
    limiter.admit("another", limits, 1)


def test_output_tokens_are_charged_afterwards_and_waited_for() -> None:
    clock = Clock()
    limiter, limits = RateLimiter(clock), Limits(tokens_per_minute=600)
    limiter.admit("prj", limits, 100)
    limiter.end("prj", 900)
    with pytest.raises(RateLimited) as caught:
        limiter.admit("prj", limits, 10)
    assert caught.value.retry_after == pytest.approx(41.0)
    clock.now = 41.0
    assert limiter.admit("prj", limits, 10)["tokens"].remaining == 0


def test_a_prompt_beyond_the_limit_waits_for_a_full_bucket_not_forever() -> None:
    assert RateLimiter(Clock()).admit("prj", Limits(tokens_per_minute=10), 1000)["tokens"].remaining == 0


def test_a_limit_of_zero_admits_nothing() -> None:
    with pytest.raises(RateLimited):
        RateLimiter(Clock()).admit("prj", Limits(requests_per_minute=0), 1)


def test_concurrent_requests_are_counted_until_they_end() -> None:
    limiter, limits = RateLimiter(Clock()), Limits(max_concurrent_requests=1)
    limiter.admit("prj", limits, 1)
    with pytest.raises(RateLimited):
        limiter.admit("prj", limits, 1)
    limiter.end("prj", 1)
    limiter.admit("prj", limits, 1)


def test_requests_in_flight_are_known_by_project_with_and_without_limits() -> None:
    limiter = RateLimiter(Clock())
    for project in ("one", "one", "two"):
        limiter.admit(project, Limits(), 1)
    assert limiter.in_flight() == {"one": 2, "two": 1}
    limiter.end("two", 1)
    assert limiter.in_flight() == {"one": 2}


def test_a_changed_limit_counts_at_once() -> None:
    limiter = RateLimiter(Clock())
    limiter.admit("prj", Limits(requests_per_minute=1), 1)
    assert limiter.admit("prj", Limits(requests_per_minute=3), 1)["requests"].remaining == 1
    assert limiter.admit("prj", Limits(), 1) == {}


def test_an_empty_snapshot_knows_nobody() -> None:
    with pytest.raises(AuthenticationFailed):
        authenticate(f"Bearer {KEYS['alice']}", AppliedSnapshot.of(Snapshot("n", 1, "")), PEPPER)
