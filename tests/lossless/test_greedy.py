"""A slice of the full grid (`python -m infra.bench.lossless`): greedy output is the model's own in every cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.engines.embedded import EmbeddedEngine
from dataplane.speculation.controller import Controller
from infra.bench.lossless.__main__ import main, random_deltas, read_chats
from infra.bench.lossless.grid import COMPANIES, SOURCES, Engines, Grid
from infra.bench.stage import MAX_CONTEXT, NUM_SLOTS, Stage

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(900)]

STATIC = Path(__file__).resolve().parent.parent.parent / "dataplane/checkpoints/smollm2-135m-instruct-eagle3"


@pytest.fixture(scope="module")
def grid(real_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """Eight prompts, twelve tokens each, through all cells."""
    stage = Stage(real_model, STATIC, threads=1, sweep=False)
    memory = EmbeddedEngine(
        stage.model,
        stage.new_drafters(num_slots=NUM_SLOTS, static=False),
        Controller(),
        num_slots=NUM_SLOTS,
        max_context=MAX_CONTEXT,
        threads=1,
    )
    memory.start(sweep=False)
    try:
        deltas = random_deltas(stage.checkpoint, tmp_path_factory.mktemp("deltas"))
        grid = Grid(stage.model, Engines(stage.engine, memory, deltas), max_tokens=12)
        chats = read_chats([])[::2][:NUM_SLOTS]
        grid.check({number: stage.encode(chat, 12) for number, chat in enumerate(chats)})
        yield grid
    finally:
        memory.stop()
        stage.close()


def test_no_cell_differs_from_the_models_own_loop(grid: Grid) -> None:
    assert {name: cell.first for name, cell in grid.cells.items() if cell.different} == {}
    assert [cell.requests for (_, company), cell in grid.cells.items() if company != "8 mixed"] == [8] * 15
    assert sum(cell.requests for (_, company), cell in grid.cells.items() if company == "8 mixed") == 8


def test_every_source_drafted_and_versions_were_swapped_in_mid_request(grid: Grid) -> None:
    for source in SOURCES:
        drafted = sum(grid.cells[source, company].drafted for company in COMPANIES)
        assert (drafted > 0) == (source != "off"), source
    assert sum(grid.cells["swap", company].swaps for company in COMPANIES) > 24


def test_a_wrong_token_is_counted_with_its_place(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: the same requests against an expectation that is off by one token."""
    before = grid.different
    honest = grid._plain
    monkeypatch.setattr(grid, "_plain", lambda prompt: (*honest(prompt)[:3], -1, *honest(prompt)[4:]))
    grid.check({0: (1, 2, 3, 4)})
    assert grid.different == before + 3 * len(SOURCES) + 1
    assert (0, 3) in grid.cells["static", "alone"].first


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--prompts", str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err
