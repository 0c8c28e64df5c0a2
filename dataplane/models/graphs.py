"""The forward pass in CUDA graphs: one launch for a step's few rows instead of some hundred.

A graph reads its inputs where they lay when it was captured. So everything of a plan that is a tensor is copied there
before each replay, and what is not (which slots, how many rows and blocks of keys) makes up the graph's key. The
embedded engine runs on a GPU for measurements only (kernels/bench/engine.py); nodes with GPUs run SGLang.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from dataplane.models.attention import AttentionPlan
from dataplane.models.kv_cache import KvCache
from dataplane.models.llama import LlamaModel
from dataplane.models.native import RowPlan

Outputs = tuple[torch.Tensor, torch.Tensor]
Capture = Callable[[Callable[[], Outputs]], tuple[Outputs, Callable[[], None]]]


def cuda_graph(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """Capture `run`: where its results lie, and what computes them again. It warms up first, on a stream of its own."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return outputs, graph.replay


def rehearsal(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """The same without a GPU: replays run again over the inputs' fixed places. For tests and the bench's CPU form."""
    outputs = run()

    def replay() -> None:
        for output, again in zip(outputs, run(), strict=True):
            output.copy_(again)

    return outputs, replay


@dataclass(frozen=True, slots=True)
class _Captured:
    token_ids: torch.Tensor
    plan: AttentionPlan
    outputs: Outputs
    replay: Callable[[], None]


class GraphedLlama(LlamaModel):
    """A LlamaModel whose short forwards are captured by shape and replayed. Use it with one cache."""

    capture: Capture = staticmethod(cuda_graph)
    max_rows = 64  # longer forwards are prompts: the launches don't matter there
    max_graphs = 512

    def forward(
        self, token_ids: torch.Tensor | Sequence[int], plan: AttentionPlan | RowPlan, cache: KvCache
    ) -> Outputs:
        """As `LlamaModel.forward`."""
        if isinstance(plan, RowPlan) or len(token_ids) > self.max_rows:
            return super().forward(token_ids, plan, cache)
        token_ids = torch.as_tensor(token_ids, device=self.device)
        with torch.inference_mode():
            graphs: OrderedDict[Any, _Captured] = self.__dict__.setdefault("_graphs", OrderedDict())
            key = _shape(len(token_ids), plan)
            captured = graphs.get(key)
            if captured is None:
                captured = graphs[key] = self._capture(token_ids.clone(), _copy(plan), cache)
                if len(graphs) > self.max_graphs:
                    graphs.popitem(last=False)
            else:
                graphs.move_to_end(key)
                captured.token_ids.copy_(token_ids)
                for place, tensor in zip(_tensors(captured.plan), _tensors(plan), strict=True):
                    place.copy_(tensor)
            captured.replay()
            hidden, features = captured.outputs
            return hidden.clone(), features.clone()  # the next replay writes over them

    def _capture(self, token_ids: torch.Tensor, plan: AttentionPlan, cache: KvCache) -> _Captured:
        run = super().forward
        outputs, replay = self.capture(lambda: run(token_ids, plan, cache))
        return _Captured(token_ids, plan, outputs, replay)


def _shape(num_rows: int, plan: AttentionPlan) -> tuple[Any, ...]:
    groups = tuple(
        (group.first_cache_row, group.num_sequences, group.num_rows, group.num_keys, group.gather is None)
        for group in plan.groups
    )
    return (num_rows, plan.doubled, plan.scatter is None, groups)


def _tensors(plan: AttentionPlan) -> list[torch.Tensor]:
    found = [plan.positions, plan.cache_rows, plan.scatter]
    for group in plan.groups:
        found += [group.gather, group.mask]
    return [tensor for tensor in found if tensor is not None]


def _copy(plan: AttentionPlan) -> AttentionPlan:
    def clone(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else tensor.clone()

    groups = tuple(replace(group, gather=clone(group.gather), mask=clone(group.mask)) for group in plan.groups)
    return replace(
        plan,
        positions=plan.positions.clone(),
        cache_rows=plan.cache_rows.clone(),
        scatter=clone(plan.scatter),
        groups=groups,
    )
