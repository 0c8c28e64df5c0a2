"""One tenant's life: its traffic is served and logged, the training process learns from it, the node swaps; then the
traffic that it adapted to, held-out traffic beside the peers, and how fast a newcomer gets there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataplane.contracts import TrainingReport
from dataplane.speculation.registry import Desired
from infra.bench.arms import Job
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.learning import gains, records_of, serve, train
from infra.bench.peers.base import Peer, PeerError
from infra.bench.prompts import Workload
from infra.bench.sections.curve import adaptation_curve
from infra.bench.stage import MODES, Run, Stage
from infra.bench.statistics import paired_ratio
from infra.bench.store import Record
from infra.bench.traffic import narrow, tenant_named

_LEAST_TO_LEARN = 20
_BESIDE_TOKENS = 96  # new tokens of a request beside the peers: some of them are slow
_LONGEST_TRAINING = 180
_CURVE = 40  # requests of a newcomer


def run(context: Context, workload: Workload, box: Box, report: Report) -> Record:
    """`box` is split: a fifth to serve, up to two fifths to train, the rest to measure. Raises TrainingError."""
    stage = context.stage
    prompts = [stage.encode(messages, workload.max_tokens) for messages in workload.learn]
    serving, learning = box.part(0.2), []
    groups = [prompts[start : start + 8] for start in range(0, len(prompts), 8)]
    for group in serving.rounds(groups, least=-(-_LEAST_TO_LEARN // 8)):
        learning += serve(stage, workload, group)
    prompts = prompts[: len(learning)]
    report(f"served {len(learning)} requests to learn from in {serving.spent:.0f} s")
    training = box.part(0.5)
    folder = context.out / "training" / workload.name
    seconds = max(20, min(_LONGEST_TRAINING, round(0.8 * training.seconds)))
    outcome = train(stage, workload.name, records_of(workload.name, prompts, learning), folder, max_seconds=seconds)
    promoted = gains(outcome)
    report(f"trained in {training.spent:.0f} s: {outcome.outcome}, {_lengths(outcome)}; promoted: {promoted}")
    delta = folder / "out" / "delta.safetensors"
    if promoted:
        context.deltas[workload.name] = delta
    load(context, workload.name)

    heldout = [stage.encode(messages, workload.max_tokens) for messages in workload.heldout]
    step = max(1, len(prompts) // 10)
    replayed = _compare(stage, workload, prompts[::step], box.part(0.25), report, "replayed")
    unseen = _compare(stage, workload, heldout, box.part(0.3), report, "held-out")
    beside = beside_peers(context, workload, heldout, box.part(0.6), report)
    curve = adaptation_curve(context, workload.name, _stream(stage, workload), _texts(prompts, learning), box, report)
    return {
        "requests_learned_from": len(learning),
        "training": dataclasses.asdict(outcome),
        "training_seconds": training.spent,
        "promoted": promoted,
        "delta": str(delta) if promoted else None,
        "replay": replayed,
        "heldout": unseen,
        "beside_peers": beside,
        "curve": curve,
    }


def load(context: Context, tenant: str) -> None:
    """The node swaps to what the tenant's training brought."""
    wanted = {name: Desired(name, f"{name}-1", path) for name, path in context.deltas.items()}
    context.stage.drafters.refresh(wanted)


def beside_peers(
    context: Context, workload: Workload, prompts: Sequence[tuple[int, ...]], box: Box, report: Report
) -> Record:
    """Held-out requests, each by ours (plain, adapted) and by every mode of every peer, one right after the other."""
    if not context.peers:
        return {"requests": 0, "speeds": {}, "missing": dict(context.peer_reasons)}
    speeds: dict[str, list[float | None]] = {}
    same: dict[str, int] = {}
    reasons = dict(context.peer_reasons)
    asked: list[tuple[str, Peer | None, Any]] = [("ours plain", None, "off"), ("ours adapted", None, "adaptive")]
    asked += [(f"{peer.name} {mode}", peer, mode) for peer in context.peers for mode in peer.modes]
    number = 0
    for number, prompt in enumerate(box.rounds(prompts, least=1 if context.quick else 2), start=1):
        turn = number % len(asked)
        reference: tuple[int, ...] = ()
        for name, peer, mode in asked[turn:] + asked[:turn]:
            speed: float | None = None
            tokens: tuple[int, ...] = ()
            try:
                if peer is None:
                    ours = context.stage.run(prompt, mode, tenant=workload.name, max_tokens=_BESIDE_TOKENS)
                    speed, tokens = ours.tokens_per_second, ours.tokens
                else:
                    run = peer.generate(mode, prompt, _BESIDE_TOKENS)
                    speed, tokens = run.tokens_per_second, run.tokens
            except PeerError as error:
                reasons[name] = str(error)
            speeds.setdefault(name, []).append(speed)
            reference = tokens if name == "ours plain" else reference
            same[name] = same.get(name, 0) + (tokens == reference and bool(tokens))
        report(f"beside peers {number}: " + ", ".join(f"{name} {by[-1]:.0f}" for name, by in speeds.items() if by[-1]))
    return {"requests": number, "speeds": speeds, "missing": reasons}


def _compare(
    stage: Stage, workload: Workload, prompts: Sequence[tuple[int, ...]], box: Box, report: Report, what: str
) -> list[Record]:
    """Each request in all modes; their order rotates, so that a drift of the machine's speed hits all of them."""
    compared: list[Record] = []
    for index, prompt in enumerate(box.rounds(prompts, least=3)):
        turn = index % len(MODES)
        runs = {
            mode: stage.run(prompt, mode, tenant=workload.name, max_tokens=workload.max_tokens)
            for mode in MODES[turn:] + MODES[:turn]
        }
        compared.append(
            {"modes": {mode: _run(one) for mode, one in runs.items()},
             "equal": len({one.tokens for one in runs.values()}) == 1}
        )  # fmt: skip
    speeds = {mode: [one["modes"][mode]["tokens_per_second"] for one in compared] for mode in MODES}
    shown = ", ".join(f"{mode} {sorted(values)[len(values) // 2]:.1f}" for mode, values in speeds.items())
    adapted = paired_ratio(speeds["adaptive"], speeds["off"]).value
    report(f"{what}: tokens/s {shown}; adapted over plain {adapted:.2f} in {len(compared)} requests")
    return compared


def _stream(stage: Stage, workload: Workload) -> list[Job]:
    """A newcomer's requests: the tenant's habits, other values."""
    tenant = tenant_named(workload.name)
    if tenant is not None:
        return [job for group in narrow(stage, tenant, "heldout", _CURVE, seed=1) for job in group]
    prompts = [stage.encode(messages, workload.max_tokens) for messages in workload.heldout]
    return [Job(workload.name, prompt, workload.max_tokens) for prompt in prompts]


def _texts(prompts: Sequence[tuple[int, ...]], runs: Sequence[Run]) -> list[tuple[int, ...]]:
    return [prompt + run.tokens for prompt, run in zip(prompts, runs, strict=True)]


def _lengths(report: TrainingReport) -> str:
    return ", ".join(f"{name} {arm.acceptance_length:.2f}" for name, arm in report.arms.items()) or report.reason


def _run(run: Run) -> Record:
    return {
        "prompt_tokens": run.prompt_tokens,
        "tokens": len(run.tokens),
        "seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        "acceptance_length": run.acceptance_length,
        "stats": dataclasses.asdict(run.stats),
    }


def delta_of(record: Record) -> Path | None:
    """The trained version of a record that was read back, if its file is still there."""
    path = Path(record["delta"]) if record.get("delta") else None
    return path if path is not None and path.exists() else None
