"""One training run, straight through: records, scores, a delta, its replay on held-out traffic, the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dataplane.contracts import TrafficRecord, TrainingReport, TrainingSpec
from dataplane.models.llama import LlamaModel
from dataplane.models.precision import fast_dtype
from dataplane.speculation.drafters.checkpoint import file_sha256, load_checkpoint
from dataplane.speculation.drafters.delta import load_delta, newest_sequences, save_delta
from dataplane.traffic.redaction import unmasked_outputs
from dataplane.training.data import (
    MAX_SEQUENCE_TOKENS,
    Records,
    Scorer,
    cut,
    read_records,
    score_records,
    split_heldout,
)
from dataplane.training.evaluate import MAX_REPLAY_TOKENS, Request, replay
from dataplane.training.fit import calibrated_temperature
from dataplane.training.progress import Progress
from dataplane.training.replay_set import read_replay_set
from dataplane.training.tables import target_tables
from dataplane.training.train import judge, train_delta
from dataplane.training.unroll import Example

MIN_TRAIN_RECORDS = 8
MIN_TRAIN_TOKENS = 256
MAX_SCORED_TOKENS = 120_000  # prompts and outputs of the newest records; bounds memory (5 kB a token) and time
SCORE_SHARE = 0.35  # of max_seconds: records that were not scored by then are left out
TRAIN_SHARE = 0.6  # of max_seconds: from then on the held-out replay runs
REPLAY_SEQUENCES = 24


def run(spec: TrainingSpec, out: Path, progress: Progress, started: float) -> TrainingReport:
    """Execute `spec`; `started` is the monotonic clock at the start of the process."""
    progress.show("preparing", 0.0, message="reading traffic")
    static = load_checkpoint(Path(spec.static_path))
    model = LlamaModel.load(Path(spec.target_path), feature_layers=static.config.feature_layers)
    incumbent = load_delta(Path(spec.incumbent_path), static) if spec.incumbent_path else None
    found, train, heldout = _records(spec, model.config.vocab_size)
    skipped = f", {found.num_bad_lines} bad lines, {found.num_unsuitable} unsuitable records left out"
    num_tokens = sum(len(cut(record)[1]) for record in train)
    report = TrainingReport(
        spec.training_run_id,
        "skipped",
        "",
        len(train),
        num_tokens,
        len(heldout),
        window_start=train[0].created_at if train else None,
        window_end=train[-1].created_at if train else None,
    )
    if len(train) < MIN_TRAIN_RECORDS or num_tokens < MIN_TRAIN_TOKENS or not heldout:
        need = f"at least {MIN_TRAIN_RECORDS} with {MIN_TRAIN_TOKENS} tokens are needed"
        reason = f"too little traffic: {len(train)} records with {num_tokens} tokens, {need}{skipped}"
        return replace(report, reason=reason)

    score_until = started + SCORE_SHARE * spec.max_seconds
    examples, judged, generic = _scores(spec, model, train, heldout, progress, score_until)
    target = target_tables(Path(spec.target_path), fast_dtype())
    deadline = started + TRAIN_SHARE * spec.max_seconds
    fitted = train_delta(
        static,
        target,
        examples,
        generic,
        rank=spec.rank,
        seed=spec.seed,
        deadline=deadline,
        incumbent=incumbent,
        report=lambda fraction, loss: progress.show("training", fraction, loss),
    )
    report = replace(
        report, num_train_records=len(examples), loss_curve=fitted.loss_curve, train_seconds=fitted.seconds
    )
    if fitted.num_batches == 0:
        return replace(report, reason=f"no time to train: preparation used up {TRAIN_SHARE:.0%} of max_seconds")
    progress.show("evaluating", 0.0)
    before, _ = judge(static, target, incumbent, judged)
    after, evidence = judge(static, target, fitted.delta, judged)
    if after <= before:
        than = "the active version" if incumbent else "the static drafter"
        return replace(report, reason=f"nothing to gain: expected acceptance {after:.3f}, {than} has {before:.3f}")

    temperature = calibrated_temperature(evidence)
    memory = newest_sequences([piece for record in train for piece in unmasked_outputs(record)])
    path = out / "delta.safetensors"
    save_delta(path, replace(fitted.delta, confidence_temperature=temperature, memory=memory))
    arms = {"candidate": path, **({"incumbent": Path(spec.incumbent_path)} if spec.incumbent_path else {})}
    requests = [Request(r.prompt_tokens, min(len(cut(r)[1]), MAX_REPLAY_TOKENS)) for r in heldout]
    judgement = replay(
        model,
        Path(spec.static_path),
        requests,
        arms,
        deadline=started + spec.max_seconds,
        report=lambda fraction: progress.show("evaluating", fraction),
    )
    return replace(
        report,
        outcome="trained",
        reason=f"trained on {len(examples)} records in {fitted.num_batches} batches{skipped}",
        num_heldout_records=len(judgement.arms["static"].per_record_acceptance_length),
        arms=judgement.arms,
        greedy_identical=judgement.greedy_identical,
        delta_sha256=file_sha256(path),
        delta_size_bytes=path.stat().st_size,
    )


def _records(spec: TrainingSpec, vocab_size: int) -> tuple[Records, list[TrafficRecord], list[TrafficRecord]]:
    """(everything found, records to train on, records to judge on); the newest of each, oldest first."""
    found = read_records(spec.train_segments, spec.project_id, vocab_size)
    train = sorted(found.usable, key=lambda record: record.created_at)[-spec.max_records :]
    if spec.heldout_segments:
        held = read_records(spec.heldout_segments, spec.project_id, vocab_size)
        heldout = sorted(held.usable, key=lambda record: record.created_at)
        known = {record.record_id for record in heldout}
        train = [record for record in train if record.record_id not in known]
    else:
        train, heldout = split_heldout(train)
    return found, _newest(train), heldout[-spec.heldout_records :]


def _newest(records: Sequence[TrafficRecord]) -> list[TrafficRecord]:
    """The newest records that together stay within MAX_SCORED_TOKENS, oldest first."""
    kept: list[TrafficRecord] = []
    total = 0
    for record in reversed(records):
        total += len(record.prompt_tokens) + len(record.output_tokens)
        if total > MAX_SCORED_TOKENS:
            break
        kept.append(record)
    return kept[::-1]


def _scores(
    spec: TrainingSpec,
    model: LlamaModel,
    train: Sequence[TrafficRecord],
    heldout: Sequence[TrafficRecord],
    progress: Progress,
    deadline: float,
) -> tuple[list[Example], list[Example], list[Example]]:
    """Examples of the records to train on, of the held-out ones, and of generic text."""
    scorer = Scorer(model)
    judged = dict(score_records(scorer, heldout))
    generic = [
        scorer.score(tokens[:prompt], tokens[prompt:])
        for tokens, prompt in read_replay_set(Path(spec.static_path), longest=MAX_SEQUENCE_TOKENS)[:REPLAY_SEQUENCES]
    ]
    examples: dict[int, Example] = {}
    for index, example in score_records(scorer, train):
        examples[index] = example
        progress.show("preparing", len(examples) / len(train), message="scoring traffic with the target")
        if time.monotonic() > deadline and len(examples) >= MIN_TRAIN_RECORDS:
            break
    return [examples[index] for index in sorted(examples)], [judged[index] for index in sorted(judged)], generic
