"""How fast a newcomer adapts: requests and seconds until half (90 %) of the way to the oracle is made."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.speculation.registry import Tiers
from infra.bench.arms import PLAIN, STATIC, Arm, ArmSpec, Job
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.lockstep import Lap, Race, whole_stream
from infra.bench.sections.broad import speeds
from infra.bench.store import Record

WINDOW = 5  # requests whose times are added up: one alone is too noisy
COLD = ArmSpec("cold", "adaptive", remember=True)
WARM = ArmSpec("adapted", "adaptive", remember=True)


def adaptation_curve(
    context: Context, tenant: str, jobs: Sequence[Job], texts: Sequence[Sequence[int]], box: Box, report: Report
) -> Record:
    """A newcomer with an empty memory and no trained version, beside one that has learned from `texts` and trained."""
    stage = context.stage
    cold, warm = Arm(stage, COLD), Arm(stage, WARM)
    warm_up(warm, tenant, texts, context)
    race = Race([Arm(stage, PLAIN), Arm(stage, STATIC), cold, warm])
    for _ in race.run(box.rounds([[job] for job in jobs], least=WINDOW + 1)):
        pass
    names = [arm.name for arm in race.arms]
    record = race.record() | {
        "window": WINDOW,
        "requests_to_half": requests_to(0.5, race.laps, names),
        "requests_to_90": requests_to(0.9, race.laps, names),
        "cold_over_plain": whole_stream(race, "cold", "plain"),
        "adapted_over_plain": whole_stream(race, "adapted", "plain"),
    }
    for key in ("requests_to_half", "requests_to_90"):
        count = record[key]
        done = race.laps[:count] if count is not None else []
        record[f"seconds{key.removeprefix('requests')}"] = (
            None if count is None else sum(lap.seconds[names.index("cold")] for lap in done)
        )
    report(
        f"newcomer over {len(race.laps)} requests: {speeds(race)}; half of the oracle's gap after "
        f"{record['requests_to_half']} requests, 90 % after {record['requests_to_90']}"
    )
    return record


def ablation(context: Context, tenant: str, jobs: Sequence[Job], texts: Sequence[Sequence[int]], box: Box) -> Record:
    """Tiers one by one on the same requests: each alone on top of static, all of them, and all but one."""
    stage = context.stage
    specs = {"static": STATIC} | {
        name: ArmSpec(name, "adaptive", remember=True, tiers=tiers)
        for name, tiers in (
            ("T0", Tiers(memory=True, residual=False, delta=False)),
            ("T1", Tiers(memory=False, residual=True, delta=False)),
            ("T2", Tiers(memory=False, residual=False, delta=True)),
            ("T0+T1", Tiers(memory=True, residual=True, delta=False)),
            ("T0+T2", Tiers(memory=True, residual=False, delta=True)),
            ("T0+T1+T2", Tiers()),
        )
    }
    specs["T0 alone, no static"] = ArmSpec("T0 alone", "adaptive", remember=True, static=False)
    arms = {name: Arm(stage, spec) for name, spec in specs.items()}
    for name, arm in arms.items():
        if name != "static":
            warm_up(arm, tenant, texts, context, trained="T2" in name)
    race = Race([Arm(stage, PLAIN), *arms.values()])
    for _ in race.run(box.rounds([[job] for job in jobs], least=3)):
        pass
    return race.record() | {
        "over_plain": {name: whole_stream(race, arm.name, "plain") for name, arm in arms.items()},
        "over_static": {name: whole_stream(race, arm.name, STATIC.name) for name, arm in arms.items()},
    }


def warm_up(arm: Arm, tenant: str, texts: Sequence[Sequence[int]], context: Context, *, trained: bool = True) -> None:
    """What the tenant's past has brought: its texts in the memory, and its trained version."""
    if texts:
        arm.drafters.memory.adopt(tenant, arm.drafters.memory.table_of(texts))
    if trained and tenant in context.deltas:
        arm.load_delta(tenant, context.deltas[tenant])


def requests_to(share: float, laps: Sequence[Lap], names: Sequence[str], window: int = WINDOW) -> int | None:
    """Requests until the cold arm has made `share` of the way from the floor to the oracle, over the last `window`.

    The floor is the better of plain and static, the oracle the best arm of the window. None: not within these laps.
    Where nothing beats the floor there is no way to make.
    """
    for start in range(len(laps) - window + 1):
        seconds = [sum(lap.seconds[index] for lap in laps[start : start + window]) for index in range(len(names))]
        by_name = dict(zip(names, seconds, strict=True))
        floor = min(by_name["plain"], by_name["static"])
        gap = floor / min(seconds) - 1  # in units of the floor's speed
        if gap > 0 and floor / by_name["cold"] - 1 >= share * gap:
            return start + window
    return None
