"""Exact amounts: integers of pico-dollars (10^-12 $), rounded once for each line, half up, to cents. No float."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PICO_PER_CENT = 10**10

KINDS = ("prompt", "cached", "completion")


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one model under one price."""

    model: str
    price_id: str | None
    unit_prices: tuple[int, int, int]  # prompt, cached, completion; pico-dollars per token
    requests: int
    prompt_tokens: int  # all of them
    cached_tokens: int  # those of them that came from the prefix cache
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """quantity x unit_price = amount_pico, rounded to amount_cents. Unpriced: there was no price at the time."""

    model: str
    kind: str
    quantity: int
    unit_price: int  # micro-dollars per million tokens = pico-dollars per token
    amount_pico: int
    amount_cents: int
    price_id: str | None


def round_to_cents(amount_pico: int) -> int:
    """Half up, for amounts that are not negative."""
    return (amount_pico + PICO_PER_CENT // 2) // PICO_PER_CENT


def lines(usage: Iterable[Usage]) -> list[Line]:
    """A statement's lines: one for each model, price and kind of token that occurred."""
    made = []
    for row in usage:
        quantities = (row.prompt_tokens - row.cached_tokens, row.cached_tokens, row.completion_tokens)
        for kind, quantity, unit_price in zip(KINDS, quantities, row.unit_prices, strict=True):
            if quantity:
                amount = quantity * unit_price
                made.append(Line(row.model, kind, quantity, unit_price, amount, round_to_cents(amount), row.price_id))
    return made


def dollars(cents: int) -> str:
    """`1234` -> `12.34`."""
    return f"{cents // 100}.{cents % 100:02d}"


def pico_dollars(amount: int) -> str:
    """The exact amount in dollars, with all twelve digits."""
    return f"{amount // 10**12}.{amount % 10**12:012d}"
