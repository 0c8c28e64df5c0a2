from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest

from control_plane.endpoints.comparison import Evidence, Thresholds, factor, judge
from dataplane.contracts import Moments

STRICT = Thresholds()


def _moments(values: list[float]) -> Moments:
    logs = [math.log(value) for value in values]
    return Moments(len(logs), math.fsum(logs), math.fsum(value * value for value in logs))


def _sample(
    count: int, *, seed: int, typical: float = 0.02, spread: float = 0.3, errors: int = 0, acceptance: float = 3.0
) -> Evidence:
    source = random.Random(seed)
    return Evidence(
        requests=count,
        errors=errors,
        first_token=_moments([source.lognormvariate(math.log(0.2), spread) for _ in range(count)]),
        per_token=_moments([source.lognormvariate(math.log(typical), spread) for _ in range(count)]),
        acceptance=_moments([source.lognormvariate(math.log(acceptance), 0.15) for _ in range(count)]),
    )


def _judge(source: Evidence, target: Evidence, *, same_policy: bool = True) -> tuple[bool, str]:
    found = judge(source, target, same_policy=same_policy, thresholds=STRICT)
    return found.worse, found.reason


def test_nothing_is_judged_before_both_have_answered_enough() -> None:
    terrible = _sample(19, seed=1, typical=9.0, errors=19)
    assert _judge(_sample(1000, seed=2), terrible) == (
        False,
        "Seen: 19 requests of the new deployment, 1000 of the old; 20 of each are needed to judge.",
    )


def test_equals_are_no_worse() -> None:
    assert _judge(_sample(2000, seed=1), _sample(200, seed=2)) == (False, "No worse over 200 requests.")


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"errors": 40}, "errors", "The error rate rose from 0.0% to 20.0%"),
        ({"typical": 0.04}, "per_token", "The time per token rose from 0.0"),
        ({"acceptance": 2.0}, "acceptance", "The acceptance length fell from 2.99 to 1.99"),
    ],
)
def test_what_is_clearly_worse_is_condemned_for_its_own_reason(
    changes: dict[str, float], name: str, words: str
) -> None:
    found = judge(
        _sample(2000, seed=1),
        _sample(200, seed=2, **changes),  # type: ignore[arg-type]
        same_policy=True,
        thresholds=STRICT,
    )
    assert found.worse and found.reason.startswith(words), found.reason
    assert [measure.name for measure in found.measures if measure.worse] == [name]


def test_a_slower_first_token_is_condemned() -> None:
    slow = _sample(200, seed=3)
    slow = Evidence(200, 0, first_token=_moments([1.0 + n / 100 for n in range(200)]), per_token=slow.per_token)
    assert _judge(_sample(2000, seed=1), slow)[1].startswith("The time to the first token rose from 0.198 s to 1.91 s")


def test_what_is_better_is_never_condemned() -> None:
    better = _sample(500, seed=4, typical=0.005, acceptance=6.0)
    assert _judge(_sample(500, seed=5, errors=100), better)[0] is False


def test_a_small_slowdown_is_within_what_is_allowed() -> None:
    assert _judge(_sample(5000, seed=1), _sample(5000, seed=2, typical=0.0212))[0] is False


def test_acceptance_is_compared_only_between_equal_policies() -> None:
    shorter = _sample(500, seed=2, acceptance=1.0)
    assert _judge(_sample(500, seed=1), shorter)[0] is True
    assert _judge(_sample(500, seed=1), shorter, same_policy=False)[0] is False


def test_a_deployment_that_always_fails_is_condemned_at_the_first_look() -> None:
    dead = Evidence(requests=20, errors=20)
    worse, reason = _judge(_sample(400, seed=1), dead)
    assert worse and "from 0.0% to 100.0%" in reason


def test_the_bound_is_wider_than_a_single_looks_and_grows_slowly() -> None:
    widths = [factor(n, confidence=0.95) for n in (20, 100, 1000, 100_000)]
    assert all(width > 1.96 for width in widths)
    assert widths[-1] < 6
    assert factor(100, confidence=0.99) > factor(100, confidence=0.95)


def _looks(seed: int, *, per_look: int = 10, looks: int = 100) -> Iterator[tuple[Evidence, Evidence]]:
    """The same world, seen again and again as it grows: two deployments that are equally good, on the very edge."""
    rng, edge = random.Random(seed), 1 + STRICT.max_per_token_slowdown
    sums = [[0, 0.0, 0.0], [0, 0.0, 0.0]]
    for _ in range(looks):
        for place, typical in enumerate((0.02, 0.02 * edge)):
            for _ in range(per_look):
                value = math.log(rng.lognormvariate(math.log(typical), 0.4))
                sums[place][0] += 1
                sums[place][1] += value
                sums[place][2] += value * value
        yield tuple(Evidence(int(s[0]), 0, per_token=Moments(int(s[0]), s[1], s[2])) for s in sums)  # type: ignore[misc]


def test_looking_after_every_heartbeat_condemns_hardly_anybody_who_is_just_allowed() -> None:
    """100 looks at each of 100 rollouts whose new deployment is as slow as is just allowed: at most 5 % may fall."""
    condemned = sum(
        any(judge(*look, same_policy=True, thresholds=STRICT).worse for look in _looks(seed)) for seed in range(100)
    )
    assert condemned <= 5
