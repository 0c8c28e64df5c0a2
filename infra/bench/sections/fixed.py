"""The controller against the best fixed setting, known only afterwards, at 1, 2, 4 and 8 concurrent streams.

Settings: plain, static with 1, 2, 4 or 8 drafts in every step, the tenant memory alone. The controller has what they
have, no more: each cell's projects are new, without a trained version, and no request comes twice in a cell.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from infra.bench.arms import ADAPTIVE, MEMORY, PLAIN, STATIC, Arm, Job, fixed
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.lockstep import Race
from infra.bench.prompts import broad_prompts
from infra.bench.statistics import ratio_of_sums
from infra.bench.store import Record
from infra.bench.traffic import creative, mixed, together

_MAX_TOKENS = 64
_CELLS = (("broad", 1), ("broad", 2), ("broad", 4), ("broad", 8), ("narrow", 1), ("narrow", 4), ("creative", 1))
_LOOKAHEADS = (1, 2, 4, 8)


def run(context: Context, box: Box, report: Report) -> Record:
    """Every cell is one workload at one number of streams; the arms go through all of them, as a node does."""
    stage = context.stage
    settings = (PLAIN, *map(fixed, _LOOKAHEADS), MEMORY)
    specs = (*settings, STATIC, ADAPTIVE)
    arms = [Arm(stage, spec, slots=8) for spec in specs]
    cells = _CELLS[:1] + _CELLS[4:5] if context.quick else _CELLS
    record: Record = {}
    warm_up = Race(arms)
    for _ in warm_up.run(_groups(context, "creative", 1, 1)):
        pass  # every arm's first request pays for what is allocated once
    for place, (workload, streams) in enumerate(cells):
        share = box.part(1 / (len(cells) - place))
        race = Race(arms)
        name = f"{workload} x{streams}"
        groups = _groups(context, workload, streams, 24)
        groups = ([replace(job, tenant=f"{name} {job.tenant}") for job in group] for group in groups)
        for _ in race.run(share.rounds(groups, least=2)):
            pass
        best = min((spec.name for spec in settings), key=race.total)
        without_memory = min((spec.name for spec in settings if spec != MEMORY), key=race.total)
        record[name] = {
            "best_fixed": best,
            "adaptive_over_best": ratio_of_sums(race.seconds(best), race.seconds("adaptive")),
            "static_over_best": ratio_of_sums(race.seconds(without_memory), race.seconds("static")),
            "tokens": sum(lap.tokens for lap in race.laps),
            "seconds": {arm.name: race.total(arm.name) for arm in arms},
            "equal_outputs": sum(lap.is_equal for lap in race.laps),
            "laps": len(race.laps),
        }
        report(f"{name}: best {best}, controller over it {record[name]['adaptive_over_best']['value']:.2f}")
    return {"cells": record}


def _groups(context: Context, workload: str, streams: int, laps: int) -> Iterator[Sequence[Job]]:
    stage = context.stage
    if workload == "broad":
        prompts = broad_prompts().sample()
        random.Random(streams).shuffle(prompts)
        jobs = [Job("broad", stage.encode(one.messages, _MAX_TOKENS), _MAX_TOKENS) for one in prompts]
        groups: list[list[Job]] = [[job] for job in jobs[: laps * streams]]
    elif workload == "narrow":
        # Cut short: what is measured here is the controller, and a short answer has the same decisions.
        groups = [[replace(job, max_tokens=_MAX_TOKENS) for job in group] for group in mixed(stage, 8 * streams)]
    else:
        groups = [list(group) for group in islice(creative(stage), laps * streams)]
    return iter(together(groups, streams))
