"""What a load would cost, before anything is started: exact, by the price that is in force. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.billing.money import Line, Usage, lines


@dataclass(frozen=True, slots=True)
class Load:
    """Tokens are of one request; cached ones are those of the prompt that the prefix cache holds."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    training_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Amounts in pico-dollars, exact; cents as a statement would round them, line by line."""

    lines: tuple[Line, ...]
    training_pico: int
    assumptions: tuple[str, ...]

    @property
    def total_pico(self) -> int:
        return sum(line.amount_pico for line in self.lines) + self.training_pico

    @property
    def total_cents(self) -> int:
        return sum(line.amount_cents for line in self.lines)


MICRO_TO_PICO = 10**6
SECONDS_PER_HOUR = 3600


def estimate(
    model: str,
    load: Load,
    *,
    price_id: str | None,
    unit_prices: tuple[int, int, int],
    training_price_per_hour: int,
    replicas: Sequence[int] = (1, 1),
) -> Estimate:
    """unit_prices: micro-dollars per million prompt, cached and completion tokens. training_price_per_hour:
    micro-dollars for an hour of a training process."""
    usage = Usage(
        model=model,
        price_id=price_id,
        unit_prices=unit_prices,
        requests=load.requests,
        prompt_tokens=load.requests * load.prompt_tokens,
        cached_tokens=load.requests * load.cached_tokens,
        completion_tokens=load.requests * load.completion_tokens,
    )
    training = -(-load.training_seconds * training_price_per_hour // SECONDS_PER_HOUR) * MICRO_TO_PICO
    return Estimate(tuple(lines([usage])), training, _assumptions(load, price_id, replicas))


def _assumptions(load: Load, price_id: str | None, replicas: Sequence[int]) -> tuple[str, ...]:
    return (
        "The price in force now applies to all requests; a later price applies from its own date."
        if price_id
        else "The model has no price yet: its tokens are free until it gets one.",
        f"Every one of {load.requests} requests has {load.prompt_tokens} prompt tokens, {load.cached_tokens} of them "
        f"from the prefix cache, and {load.completion_tokens} completion tokens.",
        "A cancelled request is billed for what was generated, a rejected one not at all.",
        "Drafted tokens are never billed: speculation makes answers faster, not dearer.",
        f"{replicas[0]} to {replicas[1]} replicas are not billed by the hour: tokens are.",
        "Training is rounded up to a whole micro-dollar, and is shown but not on statements.",
    )
