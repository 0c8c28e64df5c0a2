"""An unmodified SGLang serves our static checkpoint as EAGLE-3, and takes a tenant's merged delta while it serves."""

from __future__ import annotations

from pathlib import Path

import torch

from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.speculation.drafters.delta import DELTA_MODULES, TenantDelta, merge, save_delta
from tests.contract.engines.worlds import PROMPTS, TOKENS, stock


def some_delta(folder: Path, static: Path) -> Path:
    checkpoint = load_checkpoint(static)
    generator = torch.Generator().manual_seed(3)
    low_rank = {}
    for module in DELTA_MODULES:
        out, inner = checkpoint.config.shapes()[f"{module}.weight"]
        low_rank[module] = (
            torch.randn(4, inner, generator=generator),
            torch.randn(out, 4, generator=generator),
        )
    save_delta(folder / "delta.safetensors", TenantDelta(checkpoint.sha256, 4, low_rank))
    return folder / "delta.safetensors"


def test_the_static_checkpoint_serves_and_its_draft_alone_is_swapped(
    sglang_truth: dict[tuple[int, ...], tuple[int, ...]], target: Path, static: Path, tmp_path: Path
) -> None:
    merge(static, some_delta(tmp_path, static), tmp_path / "merged")
    arguments = {
        "speculative_algorithm": "EAGLE3",
        "speculative_draft_model_path": str(static),
        "speculative_num_steps": 3,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": 4,
    }
    report = stock(target, PROMPTS, TOKENS, arguments, tmp_path / "merged")
    plain = [list(sglang_truth[prompt]) for prompt in PROMPTS]
    assert report["before"]["tokens"] == plain
    assert report["after"]["tokens"] == plain
    assert report["changed"] == {"target": False, "draft": True}
    assert all(length >= 1.0 for length in report["before"]["acceptance_length"])
    assert report["before"]["acceptance_length"] != report["after"]["acceptance_length"]
