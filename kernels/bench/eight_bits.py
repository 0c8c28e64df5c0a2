"""What weights of 8 bits cost in quality and bring in speed, beside bf16: kernels/bench/eight_bits.py --prompts FILE…

Prompts are answered greedily by both targets, plain and with the static drafter, in turns. Prints one JSON object and,
with `--out FOLDER`, writes it there under the date:

    perplexity                   of each target on the prompts' text
    same_greedy_token            share of positions of that text whose likeliest token is that of bf16; beside 8 bits,
                                 of bf16 computed by PyTorch: what two ways of rounding make
    same_answer, common_share    share of answers that are equal; mean share of an answer before the first difference
    tokens_per_second            medians of the answers' decoding
    ratios                       medians over the prompts of paired ratios: `a_over_b`
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from statistics import mean, median

import torch
from torch.nn.functional import cross_entropy

from dataplane.models.generate import score_tokens
from dataplane.models.llama import LlamaModel
from dataplane.speculation.types import Mode
from dataplane.training.prompts import read_prompts
from infra.bench.report import Machine
from infra.bench.stage import Stage

REPOSITORY = Path(__file__).parents[2]
TARGETS = ("bf16", "8 bits")
PYTORCH = "bf16 in PyTorch"
MODES: tuple[Mode, ...] = ("off", "static")
MAX_TEXT = 512  # tokens of a prompt that are scored


def text_quality(stages: dict[str, Stage], texts: list[str]) -> dict[str, object]:
    """Perplexities and agreement on given text."""
    losses: dict[str, list[torch.Tensor]] = {name: [] for name in (*TARGETS, PYTORCH)}
    same: dict[str, list[torch.Tensor]] = {"8 bits": [], PYTORCH: []}
    models = {name: stage.model for name, stage in stages.items()}
    models[PYTORCH] = LlamaModel.load(stages["bf16"].model_folder, native=False)
    for text in texts:
        tokens = torch.tensor(stages["bf16"].tokenizer.encode(text)[:MAX_TEXT])
        if len(tokens) < 2:
            continue
        choices = {}
        for name, model in models.items():
            logits = model.logits(score_tokens(model, tokens[:-1].tolist())[0]).float()
            losses[name].append(cross_entropy(logits, tokens[1:], reduction="none"))
            choices[name] = logits.argmax(-1)
        for name, shares in same.items():
            shares.append((choices[name] == choices["bf16"]).float())
    return {
        "perplexity": {name: round(float(torch.cat(values).mean().exp()), 3) for name, values in losses.items()},
        "scored_tokens": sum(map(len, losses["bf16"])),
        "same_greedy_token": {name: round(float(torch.cat(shares).mean()), 4) for name, shares in same.items()},
    }


def answers(stages: dict[str, Stage], texts: list[str], max_tokens: int) -> dict[str, object]:
    """Greedy answers of both targets in both modes, in turns."""
    speeds: dict[str, list[float]] = {f"{name} {mode}": [] for name in TARGETS for mode in MODES}
    lengths: dict[str, list[float]] = {name: [] for name in TARGETS}
    equal, common = [], []
    for index, text in enumerate(texts):
        outputs: dict[str, tuple[int, ...]] = {}
        arms = [(name, mode) for name in TARGETS for mode in MODES]
        for name, mode in arms[index % len(arms) :] + arms[: index % len(arms)]:
            prompt = stages[name].encode([{"role": "user", "content": text}], max_tokens)
            run = stages[name].run(prompt, mode, tenant=f"{name}-{index}", max_tokens=max_tokens)
            if outputs.setdefault(name, run.tokens) != run.tokens:
                raise RuntimeError(f"{name}: the answer to prompt {index} depends on speculation")
            speeds[f"{name} {mode}"].append(run.tokens_per_second)
            if mode == "static":
                lengths[name].append(run.acceptance_length)
        left, right = (outputs[name] for name in TARGETS)
        equal.append(left == right)
        first = next((place for place, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
        common.append(1.0 if first is None else first / max(len(left), len(right)))

    def ratio(upper: str, lower: str) -> float:
        return round(median(a / b for a, b in zip(speeds[upper], speeds[lower], strict=True)), 3)

    return {
        "same_answer": round(mean(equal), 3),
        "common_share": round(mean(common), 3),
        "acceptance_length": {name: round(mean(values), 3) for name, values in lengths.items()},
        "tokens_per_second": {name: round(median(values), 1) for name, values in speeds.items()},
        "ratios": {
            "8_bits_over_bf16_plain": ratio("8 bits off", "bf16 off"),
            "8_bits_over_bf16_static": ratio("8 bits static", "bf16 static"),
            "static_over_plain_bf16": ratio("bf16 static", "bf16 off"),
            "static_over_plain_8_bits": ratio("8 bits static", "8 bits off"),
            "8_bits_static_over_bf16_plain": ratio("8 bits static", "bf16 off"),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=REPOSITORY / "var/models/smollm2-135m-instruct")
    parser.add_argument(
        "--static", type=Path, default=REPOSITORY / "dataplane/checkpoints/smollm2-135m-instruct-eagle3"
    )
    parser.add_argument("--prompts", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=50, help="prompts, evenly from the files")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="folder for the JSON file")
    options = parser.parse_args()
    machine = Machine.now(REPOSITORY)
    every = [prompt.turns[0] for path in options.prompts for prompt in read_prompts(path)]
    texts = every[:: max(1, len(every) // options.count)][: options.count]
    stages = {
        name: Stage(options.model, options.static, threads=options.threads, in_bytes=name == "8 bits")
        for name in TARGETS
    }
    report = {
        "machine": dataclasses.asdict(machine),
        "threads": options.threads,
        "prompts": len(texts),
        **text_quality(stages, texts),
        **answers(stages, texts, options.tokens),
    }
    for stage in stages.values():
        stage.close()
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"eight-bits-{machine.started_at[:10]}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
