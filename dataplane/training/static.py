"""Train a target's static drafter from nothing but prompts.

    python -m dataplane.training.static generate --target FOLDER --prompts FILE… --exclude FILE… --out DATA --tokens N
    python -m dataplane.training.static train    --target FOLDER --data DATA --run RUN --seconds N
    python -m dataplane.training.static export   --target FOLDER --data DATA --run RUN --out CHECKPOINT
    python -m dataplane.training.static evaluate --target FOLDER --checkpoint CHECKPOINT --prompts FILE… [--data DATA]

`generate` and `train` may be interrupted and started again; `export` takes the run as far as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from dataplane.models.llama import LlamaModel
from dataplane.models.precision import fast_dtype
from dataplane.models.tokenizer import Tokenizer
from dataplane.speculation.drafters.checkpoint import (
    DESIGNS,
    EAGLE,
    RECURRENT,
    EagleCheckpoint,
    EagleConfig,
    load_checkpoint,
    save_checkpoint,
    vocabulary_maps,
)
from dataplane.training.corpus import GENERATED, GIVEN, read_shard, shard_counts, shard_paths
from dataplane.training.evaluate import GROUP, Request, replay
from dataplane.training.fit import (
    FitOptions,
    acceptance_by_position,
    calibrated_temperature,
    calibration_error,
    fit,
    hot_vocabulary,
    initial_parameters,
    new_state,
    vocabulary_coverage,
)
from dataplane.training.generate import MAX_PROMPT_TOKENS, generate_shards, score_shards
from dataplane.training.prompts import Exclusion, Prompt, read_exchanges, read_prompts, select
from dataplane.training.replay_set import write_replay_set
from dataplane.training.tables import target_tables
from dataplane.training.vocabulary import ranking, table

REPLAY_SEQUENCES = 48
VOCABULARY_SIZES = (2048, 4096, 6144, 8192, 12288, 16384, 32768)
EVALUATED_PROMPTS = 6  # of each category
EVALUATED_TOKENS = 128
# Never trained on: the first shard, and the first of the part that holds synthetic prompts, where there is one.
HELDOUT_SHARDS = ("part0-0000.safetensors", "part2-0000.safetensors")


def drafter_config(model: LlamaModel, draft_vocab_size: int, design: str = EAGLE) -> EagleConfig:
    """A drafter as wide as its target, one layer deep."""
    config = model.config
    return EagleConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        target_vocab_size=config.vocab_size,
        draft_vocab_size=min(draft_vocab_size, config.vocab_size),
        feature_layers=tuple(model.feature_layers),
        rms_norm_eps=config.rms_norm_eps,
        rope_theta=config.rope_theta,
        max_position_embeddings=config.max_context,
        design=design,
    )


def chosen_prompts(options: argparse.Namespace) -> list[Prompt]:
    """Prompts of `--prompts`, without those that repeat one of `--exclude`, in an order that the seed decides."""
    exclusion = Exclusion(prompt for path in options.exclude for prompt in read_prompts(path))
    return select((prompt for path in options.prompts for prompt in read_prompts(path)), exclusion, options.seed)


def train(options: argparse.Namespace) -> None:
    """Fit (or go on fitting) the run in `options.run`."""
    options.run.mkdir(parents=True, exist_ok=True)
    target = target_tables(options.target, fast_dtype())
    start = load_checkpoint(options.start) if options.start else None
    size = options.vocabulary if start is None else start.config.draft_vocab_size
    config = drafter_config(LlamaModel.load(options.target), size, options.design)
    chosen = options.run / "hot.json"
    if start is not None and start.config.shapes() != config.shapes():
        raise SystemExit(f"{options.start} has another shape than a drafter of {options.target}")
    if start is not None and options.keep_vocabulary and not chosen.exists():
        hot = start.hot_tokens
        coverage = vocabulary_coverage(options.data, [hot])[0]
        chosen.write_text(json.dumps({"hot": hot.tolist(), "coverage": coverage}), encoding="utf-8")
    elif not chosen.exists():
        tokenizer = Tokenizer.load(options.target)
        prompts = (tokenizer.encode(prompt.turns[0]) for prompt in chosen_prompts(options))
        hot, coverage = hot_vocabulary(options.data, prompts, config.draft_vocab_size, config.target_vocab_size)
        chosen.write_text(json.dumps({"hot": hot.tolist(), "coverage": coverage}), encoding="utf-8")
    hot = torch.tensor(json.loads(chosen.read_text(encoding="utf-8"))["hot"])
    fit_options = FitOptions(
        options.seconds,
        options.steps,
        options.rate,
        seed=options.seed,
        heldout=HELDOUT_SHARDS,
        clock=time.process_time if options.processor_time else time.monotonic,
        batches_at_once=options.at_once,
    )
    initial = initial_parameters(config, target, hot, options.seed)
    if start is not None:
        initial = continued(initial, start, hot)
    state = new_state(initial, fit_options, options.run / "state.pt")
    fit(state, config, target, hot, options.data, options.run, fit_options)
    plot_curve(state.curve, options.run / "curve.png")


def continued(initial: dict[str, torch.Tensor], start: EagleCheckpoint, hot: torch.Tensor) -> dict[str, torch.Tensor]:
    """The weights of `start` for the vocabulary `hot`; the head's rows of tokens that are new in it stay `initial`."""
    weights = {name: start.tensors[name].float() for name in initial if name != "lm_head.weight"}
    head = initial["lm_head.weight"].clone()
    places = {token: place for place, token in enumerate(start.hot_tokens.tolist())}
    known = [(row, places[token]) for row, token in enumerate(hot.tolist()) if token in places]
    head[[row for row, _ in known]] = start.tensors["lm_head.weight"][[place for _, place in known]].float()
    return {**weights, "lm_head.weight": head}


def generate(options: argparse.Namespace) -> None:
    """Let the target answer the chosen prompts."""
    tokenizer = Tokenizer.load(options.target)
    prompts = chosen_prompts(options)
    print(f"{len(prompts)} prompts", flush=True)
    model = LlamaModel.load(options.target)
    generate_shards(model, tokenizer, prompts, options.out, num_tokens=options.tokens, seed=options.seed)


def vocabulary(options: argparse.Namespace) -> None:
    """What hot vocabularies of several sizes cover of the held-out text, and what a draft costs with each."""
    tokenizer = Tokenizer.load(options.target)
    model = LlamaModel.load(options.target)
    prompts = (tokenizer.encode(prompt.turns[0]) for prompt in chosen_prompts(options))
    order = ranking(options.data, prompts, HELDOUT_SHARDS, model.config.vocab_size)
    config = drafter_config(model, model.config.vocab_size)
    sizes = [size for size in VOCABULARY_SIZES if size < model.config.vocab_size] or [model.config.vocab_size]
    for row in table(options.data, order, HELDOUT_SHARDS, config, model.embedding, sizes):
        print(
            f"{row.size:6d} tokens  coverage {row.heldout_coverage:.4f}  {row.microseconds:7.0f} us a draft  "
            f"{row.head_megabytes:5.1f} MB",
            flush=True,
        )


def score(options: argparse.Namespace) -> None:
    """Let the target score given answers of conversations (`--prompts`: ShareGPT arrays)."""
    exclusion = Exclusion(prompt for path in options.exclude for prompt in read_prompts(path))
    exchanges = [one for path in options.prompts for one in read_exchanges(path, exclusion, options.seed)]
    model = LlamaModel.load(options.target)
    score_shards(model, Tokenizer.load(options.target), exchanges, options.out, num_tokens=options.tokens)


def export(options: argparse.Namespace) -> None:
    """Calibrate the averaged weights of a run on the held-out shards and write the checkpoint folder."""
    saved = torch.load(options.run / "state.pt", weights_only=True)
    hot_file = json.loads((options.run / "hot.json").read_text(encoding="utf-8"))
    hot = torch.tensor(hot_file["hot"])
    target = target_tables(options.target, fast_dtype())
    design = EAGLE if "midlayer.mix.weight" not in saved["averaged"] else RECURRENT
    config = drafter_config(LlamaModel.load(options.target), len(hot), design)
    heldout = [
        example for path in shard_paths(options.data) if path.name in HELDOUT_SHARDS for example in read_shard(path)
    ]
    parameters = {name: value.to(target.head.dtype) for name, value in saved["averaged"].items()}
    shares, evidence = acceptance_by_position(
        parameters, config, target, hot, [example for example in heldout if example.temperature == 0], 8
    )
    temperature = calibrated_temperature(evidence[::2])
    config = EagleConfig.from_json({**config.to_json(), "confidence_temperature": round(temperature, 3)})
    digest = save_checkpoint(options.out, config, {**parameters, **vocabulary_maps(hot, config.target_vocab_size)})
    last_shard = [path for path in shard_paths(options.data) if path.name not in HELDOUT_SHARDS][-1]
    generic = [example for path in (shard_paths(options.data)[1], last_shard) for example in read_shard(path)[::7]]
    write_replay_set(options.out, generic[:REPLAY_SEQUENCES])
    counts = {
        name: shard_counts([path for path in shard_paths(options.data, kind) if path.name not in HELDOUT_SHARDS])
        for name, kind in (("generated", GENERATED), ("given", GIVEN))
    }
    report = {
        "sha256": digest,
        "hot_vocabulary_coverage": hot_file["coverage"],
        "confidence_temperature": temperature,
        "calibration_error": calibration_error(evidence[1::2] or evidence, temperature),
        "calibration_error_uncalibrated": calibration_error(evidence[1::2] or evidence, 1.0),
        "heldout_acceptance_by_position": shares,
        "heldout_acceptance_length": 1 + sum(shares),
        "seconds": saved["seconds"],
        "num_batches": saved["num_batches"],
        "train": counts,
    }
    print(json.dumps(report, indent=2))


def evaluate(options: argparse.Namespace) -> None:
    """Acceptance length per category, answering greedily through the serving step with `LOOKAHEAD` drafts a step."""
    model = LlamaModel.load(options.target)
    tokenizer = Tokenizer.load(options.target)
    categories: dict[str, list[Request]] = {}
    for path in options.prompts:
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            text = item["turns"][0] if "turns" in item else item["prompt"]
            ids = tokenizer.apply_chat_template([{"role": "user", "content": text}])
            chosen = categories.setdefault(f"{path.parent.name}/{item.get('category', '')}", [])
            if len(chosen) < options.per_category and len(ids) <= MAX_PROMPT_TOKENS:
                chosen.append(Request(tuple(ids), EVALUATED_TOKENS))
    if options.data is not None:
        heldout = [e for path in shard_paths(options.data) if path.name in HELDOUT_SHARDS for e in read_shard(path)]
        step = max(1, len(heldout) // (2 * options.per_category))
        categories["held-out broad prompts"] = [
            Request(tuple(e.tokens[: e.num_prompt_tokens].tolist()), EVALUATED_TOKENS) for e in heldout[::step]
        ]
    arms = {"adaptive": options.delta} if options.delta else {}
    total: dict[str, list[float]] = {}
    how = {"group_size": options.at_once, "native": not options.drafts_in_pytorch}
    for name, requests in sorted(categories.items()):
        if not requests:
            continue
        for arm, one in replay(model, options.checkpoint, requests, arms, **how).arms.items():
            steps, tokens, seconds = total.setdefault(arm, [0, 0, 0.0])
            total[arm] = [steps + one.steps, tokens + one.tokens, seconds + one.seconds]
            speed = f"{one.tokens / one.seconds:6.1f} tokens/s"
            print(f"{name:40s} {arm:9s} {one.acceptance_length:.2f}  {speed}  ({len(requests)} prompts)", flush=True)
    for arm, (steps, tokens, seconds) in total.items():
        print(f"{'all':40s} {arm:9s} {tokens / steps:.2f}  {tokens / seconds:6.1f} tokens/s")


def plot_curve(curve: list[dict[str, float]], path: Path) -> None:
    """Learning curve as a picture, if matplotlib is installed."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
        return
    figure, left = pyplot.subplots(figsize=(7, 4))
    minutes = [point["seconds"] / 60 for point in curve]
    left.plot(minutes, [point["loss"] for point in curve], color="tab:gray", label="training loss")
    left.set_xlabel("minutes")
    left.set_ylabel("cross-entropy")
    right = left.twinx()
    right.plot(minutes, [point["acceptance_length"] for point in curve], color="tab:blue", label="acceptance length")
    right.set_ylabel("held-out acceptance length, 4 drafts")
    figure.legend(loc="upper center", ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str]) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m dataplane.training.static")
    commands = parser.add_subparsers(dest="command", required=True)
    named = {
        name: commands.add_parser(name, help=function.__doc__)
        for name, function in (
            ("generate", generate),
            ("score", score),
            ("vocabulary", vocabulary),
            ("train", train),
            ("export", export),
            ("evaluate", evaluate),
        )
    }
    for name, command in named.items():
        command.add_argument("--target", type=Path, required=True, help="folder of the target model")
        command.add_argument("--threads", type=int, default=1)
        if name in ("generate", "score", "vocabulary", "train", "evaluate"):
            command.add_argument("--prompts", type=Path, nargs="+", required=name in ("generate", "score"), default=[])
        if name in ("generate", "score", "vocabulary", "train"):
            command.add_argument("--exclude", type=Path, nargs="*", default=[], help="prompts of benchmarks")
            command.add_argument("--seed", type=int, default=0)
        if name in ("vocabulary", "train", "export", "evaluate"):
            command.add_argument("--data", type=Path, required=name != "evaluate", help="folder of the shards")
        if name in ("train", "export"):
            command.add_argument("--run", type=Path, required=True, help="folder of the training state")
        if name in ("generate", "score", "export"):
            command.add_argument("--out", type=Path, required=True)
    for name in ("generate", "score"):
        named[name].add_argument("--tokens", type=int, default=300_000)
    named["train"].add_argument("--seconds", type=float, default=2400)
    named["train"].add_argument("--steps", type=int, default=3, help="draft steps that are unrolled")
    named["train"].add_argument("--rate", type=float, default=1.5e-3)
    named["train"].add_argument("--vocabulary", type=int, default=8192)
    named["train"].add_argument("--start", type=Path, help="checkpoint to go on from")
    named["train"].add_argument("--design", choices=DESIGNS, default=EAGLE)
    named["train"].add_argument("--processor-time", action="store_true", help="--seconds are of the processor")
    named["train"].add_argument("--at-once", type=int, default=1, help="batches, each in a thread; one update of all")
    named["train"].add_argument("--keep-vocabulary", action="store_true", help="that of --start, instead of a new one")
    named["evaluate"].add_argument("--checkpoint", type=Path, required=True)
    named["evaluate"].add_argument("--delta", type=Path)
    named["evaluate"].add_argument("--at-once", type=int, default=GROUP, help="prompts that are answered together")
    named["evaluate"].add_argument("--drafts-in-pytorch", action="store_true", help="instead of the native kernels")
    named["evaluate"].add_argument("--per-category", type=int, default=EVALUATED_PROMPTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    {
        "generate": generate,
        "score": score,
        "vocabulary": vocabulary,
        "train": train,
        "export": export,
        "evaluate": evaluate,
    }[options.command](options)


if __name__ == "__main__":
    main(sys.argv[1:])
