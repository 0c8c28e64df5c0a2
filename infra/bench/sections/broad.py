"""Broad prompts, which no tenant's tier has learned: what the static drafter brings, beside what others would do."""

from __future__ import annotations

from infra.bench.arms import ADAPTIVE, MOVING_AVERAGE, PLAIN, STATIC, STATIC_CHAINS, Arm, Job
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.lockstep import Race, whole_stream
from infra.bench.prompts import Collection
from infra.bench.statistics import ratio_of_sums
from infra.bench.store import Record


def run(context: Context, collection: Collection, box: Box, report: Report) -> Record:
    stage = context.stage
    prompts = collection.sample()
    race = Race([Arm(stage, spec) for spec in (PLAIN, STATIC, STATIC_CHAINS, MOVING_AVERAGE, ADAPTIVE)])
    groups = (
        [Job(collection.name, stage.encode(one.messages, collection.max_tokens), collection.max_tokens)]
        for one in prompts
    )
    categories = []
    least = 3 if context.quick else len({one.category for one in prompts})
    for lap, prompt in zip(race.run(box.rounds(groups, least=min(least, 13))), prompts, strict=False):
        categories.append(prompt.category)
        if len(categories) % 10 == 0:
            report(f"{len(categories)}/{len(prompts)} prompts, {lap.tokens} tokens in the last one: " + speeds(race))
    report(f"{len(categories)}/{len(prompts)} prompts: " + speeds(race))
    by_category = {}
    for category in dict.fromkeys(categories):
        laps = [lap for lap, own in zip(race.laps, categories, strict=True) if own == category]
        plain, static = race.index("plain"), race.index("static")
        by_category[category] = ratio_of_sums(
            [lap.seconds[plain] for lap in laps], [lap.seconds[static] for lap in laps]
        )
    return race.record() | {
        "static_over_plain": whole_stream(race, "static", "plain"),
        "moving_average_over_plain": whole_stream(race, "moving average", "plain"),
        "adaptive_over_plain": whole_stream(race, "adaptive", "plain"),
        "alternatives_over_chains": whole_stream(race, "static", STATIC_CHAINS.name),
        "static_over_plain_by_category": by_category,
        "prompts": len(categories),
        "of": len(prompts),
    }


def speeds(race: Race) -> str:
    """Tokens per second of all arms so far."""
    return ", ".join(f"{arm.name} {arm.tokens / arm.seconds:.1f}" for arm in race.arms if arm.seconds) + " tokens/s"
