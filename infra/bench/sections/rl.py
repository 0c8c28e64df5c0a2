"""The RL case: the target's weights change under the speculator. Acceptance over time shows the fall, the fallback to
the floor and the relearning.

A few fine-tuning steps teach the target to answer a tenant's requests in another form, in several rounds, as a policy
shifts in reinforcement learning. Nobody tells the speculator: the same drafters, memory and controller run on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from dataplane.models.llama import LlamaModel
from infra.bench.arms import ADAPTIVE, PLAIN, STATIC, Arm
from infra.bench.budget import Box
from infra.bench.context import Context, Report
from infra.bench.lockstep import Race, whole_stream, window_record
from infra.bench.stage import Stage
from infra.bench.store import Record
from infra.bench.traffic import narrow
from infra.demo.workloads import SUPPORT, requests

_RATE = 1e-4
_LONGEST = 640  # tokens of a training text
# The new habit: other keys and another closing sentence.
_REWRITES = (
    ('"order_id"', '"ticket"'),
    ('"customer"', '"from"'),
    ('"reply"', '"answer"'),
    ("Dear ", "Hello "),
    ("We will write to you about order", "Our team is already looking into ticket"),
)


def run(context: Context, box: Box, report: Report) -> Record:
    """Rounds of `serve, then fine-tune`; every round's requests run plain, static and adaptive on the same weights."""
    stage = context.stage
    rounds = 2 if context.quick else 3
    length = 4 if context.quick else max(6, min(16, round(box.seconds / 12)))
    groups = narrow(stage, SUPPORT, "learn", rounds * length + length, seed=3)
    race = Race([Arm(stage, spec) for spec in (PLAIN, STATIC, ADAPTIVE)])
    adaptive = race.arms[race.index("adaptive")]
    tuner = Tuner(stage, steps=4 if context.quick else 8)
    accepted: list[list[float]] = []
    relearning: list[bool] = []
    changes: list[int] = []
    losses: list[float] = []
    for number in range(rounds + 1):
        for lap in race.run(groups[number * length : (number + 1) * length]):
            accepted.append([lap.tokens / steps for steps in lap.steps])
            relearning.append(adaptive.controller.relearning(SUPPORT.name, SUPPORT.name))
        mean = sum(row[race.index("adaptive")] for row in accepted[-length:]) / length
        report(f"round {number}: acceptance length {mean:.2f} adaptive over {length} requests")
        if number < rounds:
            losses.append(tuner.tune())
            model = tuner.model()
            for arm in race.arms:
                arm.change_target(model)
            changes.append(len(race.laps))
            report(f"{tuner.steps} steps of fine-tuning, loss {losses[-1]:.2f}: new weights under the speculator")
    return race.record() | {
        "changes": changes,  # requests before each change of weights
        "losses": losses,
        "acceptance_length_by_request": accepted,  # in the order of the arms
        "relearning_by_request": relearning,
        "adaptive_over_plain": whole_stream(race, "adaptive", "plain"),
        "adaptive_over_static": whole_stream(race, "adaptive", "static"),
        "windows": window_record(race, race.floor(), "adaptive"),
    }


class Tuner:
    """Fine-tunes a copy of the target in float32, in memory, on its own answers with the new habit."""

    def __init__(self, stage: Stage, *, steps: int) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.steps = steps
        self._stage = stage
        self._tuned = AutoModelForCausalLM.from_pretrained(stage.model_folder, dtype=torch.float32)
        self._optimizer = torch.optim.AdamW(self._tuned.parameters(), lr=_RATE, weight_decay=0.0)
        self._texts = self._rewritten()
        self._next = 0

    def tune(self) -> float:
        """A few steps, one text each. Returns their mean loss, nats a token."""
        losses = []
        for _ in range(self.steps):
            tokens, start = self._texts[self._next % len(self._texts)]
            self._next += 1
            ids = torch.tensor([tokens])
            labels = ids.clone()
            labels[0, :start] = -100
            loss = self._tuned(input_ids=ids, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._tuned.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()
            losses.append(float(loss.detach()))
        if not all(map(math.isfinite, losses)):
            raise RuntimeError("fine-tuning diverged")
        return sum(losses) / len(losses)

    def model(self) -> LlamaModel:
        """The weights as they are now, in bf16, as a served model."""
        old = self._stage.model
        names = {name: weight.detach().to(torch.bfloat16) for name, weight in self._tuned.state_dict().items()}
        if old.config.tied:
            names.pop("lm_head.weight", None)
        return LlamaModel(old.config, names, feature_layers=self._stage.checkpoint.config.feature_layers)

    def _rewritten(self) -> list[tuple[list[int], int]]:
        """(prompt and answer as tokens, where the answer starts)."""
        chats = requests(SUPPORT, "learn", 12, seed=4)
        prompts = [self._stage.encode(messages, SUPPORT.max_tokens) for messages in chats]
        runs = self._stage.run_together(prompts, "adaptive", tenant="tuning", max_tokens=SUPPORT.max_tokens)
        texts = []
        for prompt, one in zip(prompts, runs, strict=True):
            answer = self._stage.tokenizer.decode(list(one.tokens))
            for old, new in _REWRITES:
                answer = answer.replace(old, new)
            tokens = [*prompt, *self._stage.tokenizer.encode(answer)]
            texts.append((tokens[-_LONGEST:], max(0, len(prompt) - max(0, len(tokens) - _LONGEST))))
        return texts


def fall_and_return(record: Record) -> list[dict[str, float]]:
    """For each change of weights: mean acceptance length just before, just after, and at the end of its round."""
    place = record["arms"].index("adaptive")
    lengths: Sequence[float] = [row[place] for row in record["acceptance_length_by_request"]]
    ends = [*record["changes"][1:], len(lengths)]
    near = max(1, min(3, record["changes"][0]))
    return [
        {
            "before": sum(lengths[at - near : at]) / near,
            "after": sum(lengths[at : at + near]) / near,
            "end": sum(lengths[end - near : end]) / near,
        }
        for at, end in zip(record["changes"], ends, strict=True)
    ]
