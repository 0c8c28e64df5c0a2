"""Keys, limits and the speculation that a request gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dataplane.contracts import EndpointConfig, Limits, Snapshot
from dataplane.errors import AuthenticationFailed, RateLimited
from dataplane.server.admission import Pepper, RateLimiter, authenticate, speculation_policy
from dataplane.server.schemas import Speculation
from dataplane.sync.snapshot import AppliedSnapshot
from tests.dataplane.server.conftest import KEYS, PEPPER, snapshot

ENDPOINT = EndpointConfig("ep", "prj", "dep", "assistant", "m", "adaptive", 8, holdout_rate=0.1)


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
    endpoint = replace(ENDPOINT, holdout_rate=1.0)
    policy = speculation_policy(endpoint, wish, request_id="req", remember=True)
    assert (policy.mode, policy.max_lookahead, policy.remember) == (mode, lookahead, mode == "adaptive")


@pytest.mark.parametrize("mode", ["off", "static"])
def test_a_wish_never_raises_the_endpoints_policy(mode: str) -> None:
    endpoint = replace(ENDPOINT, speculation_mode=mode)  # type: ignore[arg-type]
    assert speculation_policy(endpoint, Speculation(mode="adaptive"), request_id="r", remember=False).mode == mode


def test_the_holdout_is_a_fixed_share_by_request_id() -> None:
    def mode(number: int) -> str:
        return speculation_policy(ENDPOINT, None, request_id=f"req_{number}", remember=False).mode

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


def test_a_changed_limit_counts_at_once() -> None:
    limiter = RateLimiter(Clock())
    limiter.admit("prj", Limits(requests_per_minute=1), 1)
    assert limiter.admit("prj", Limits(requests_per_minute=3), 1)["requests"].remaining == 1
    assert limiter.admit("prj", Limits(), 1) == {}


def test_an_empty_snapshot_knows_nobody() -> None:
    with pytest.raises(AuthenticationFailed):
        authenticate(f"Bearer {KEYS['alice']}", AppliedSnapshot.of(Snapshot("n", 1, "")), PEPPER)
