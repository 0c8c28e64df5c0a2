"""dataplane/models/graphs.py: a replay reads its own step's inputs, and nobody's outputs change afterwards.

What a GPU adds, the capture itself, is `torch.cuda.graph`'s; here a rehearsal stands in its place.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dataplane.models.attention import Span
from dataplane.models.graphs import GraphedLlama, rehearsal
from dataplane.models.llama import LlamaModel
from tests.dataplane.training.tiny_target import VOCABULARY, write_tiny_target

# Spans of one step each: shapes come back with other positions, tokens and lengths.
STEPS = (
    [Span(0, 0, 5), Span(1, 0, 5)],
    [Span(0, 5, 1), Span(1, 5, 1)],
    [Span(0, 6, 1), Span(1, 6, 1)],
    [Span(0, 7, 3), Span(1, 7, 1)],
    [Span(0, 10, 3), Span(1, 8, 1)],
    [Span(0, 13, 1)],
    [Span(0, 14, 1)],
    [Span(1, 9, 1)],
    [Span(0, 15, 2), Span(1, 10, 2)],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_target(tmp_path_factory.mktemp("tiny"))


def outputs(model: LlamaModel) -> list[tuple[torch.Tensor, torch.Tensor]]:
    cache = model.new_cache(2, 256)
    slots = [cache.allocate(), cache.allocate()]
    assert slots == [0, 1]
    generator = torch.Generator().manual_seed(1)
    found = []
    for spans in STEPS:
        tokens = torch.randint(VOCABULARY, (sum(span.count for span in spans),), generator=generator)
        found.append(model.forward(tokens, model.plan(spans, cache), cache))
        for span in spans:
            cache.commit(span.slot, span.start + span.count)
    return found


def graphed(folder: Path) -> GraphedLlama:
    model = GraphedLlama.load(folder, native=False)
    assert isinstance(model, GraphedLlama)
    model.capture = rehearsal
    return model


@pytest.mark.parametrize("max_graphs", [1, 512])
def test_replays_give_what_the_ordinary_forward_gives_and_keep_it(folder: Path, max_graphs: int) -> None:
    model = graphed(folder)
    model.max_graphs = max_graphs
    for found, expected in zip(outputs(model), outputs(LlamaModel.load(folder, native=False)), strict=True):
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_a_shape_is_captured_once_and_long_forwards_never(folder: Path) -> None:
    model, captured = graphed(folder), []
    model.capture = lambda run: captured.append(1) or rehearsal(run)  # type: ignore[func-returns-value]
    model.max_rows = 9
    outputs(model)
    # Not the first, of ten rows. Steps 2 and 3, 4 and 5, 6 and 7 share a graph; the others have one of their own.
    assert len(captured) == 5
