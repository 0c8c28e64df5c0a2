"""A tenant's delta as an artifact: round trip, refusal of what is damaged or foreign, merging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dataplane.speculation.drafters.checkpoint import (
    ArtifactError,
    EagleCheckpoint,
    load_checkpoint,
    save_checkpoint,
)
from dataplane.speculation.drafters.delta import (
    DELTA_MODULES,
    TenantDelta,
    load_delta,
    merge,
    newest_sequences,
    save_delta,
)
from dataplane.speculation.drafters.eagle import EagleDrafter
from tests.dataplane.speculation.eagle_worlds import CONFIG, VOCABULARY, tiny_checkpoint, tiny_embeddings
from tests.fakes import FakeSequence

Tensors = dict[str, torch.Tensor]
Damage = Callable[[Tensors, dict[str, str]], None]


@pytest.fixture
def static(tmp_path: Path) -> EagleCheckpoint:
    checkpoint = tiny_checkpoint(dtype=torch.bfloat16)
    save_checkpoint(tmp_path / "static", checkpoint.config, checkpoint.tensors)
    return load_checkpoint(tmp_path / "static")


def delta_of(static: EagleCheckpoint, seed: int = 3, rank: int = 4) -> TenantDelta:
    generator = torch.Generator().manual_seed(seed)
    low_rank = {}
    for module in DELTA_MODULES:
        out, inner = static.config.shapes()[f"{module}.weight"]
        factors = torch.randn(rank, inner, generator=generator), 0.2 * torch.randn(out, rank, generator=generator)
        low_rank[module] = (factors[0].bfloat16(), factors[1].bfloat16())
    return TenantDelta(static.sha256, rank, low_rank, 1.25, ((1, 2, 3), (), (60, 4)))


def test_a_delta_survives_the_round_trip(static: EagleCheckpoint, tmp_path: Path) -> None:
    delta = delta_of(static)
    save_delta(tmp_path / "delta.safetensors", delta)
    loaded = load_delta(tmp_path / "delta.safetensors", static)
    assert loaded.size_bytes == (tmp_path / "delta.safetensors").stat().st_size
    assert (loaded.static_sha256, loaded.rank, loaded.confidence_temperature) == (static.sha256, 4, 1.25)
    assert loaded.memory == delta.memory
    for module in DELTA_MODULES:
        for read, written in zip(loaded.low_rank[module], delta.low_rank[module], strict=True):
            assert torch.equal(read, written)


def test_equal_deltas_are_equal_files(static: EagleCheckpoint, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.safetensors" for number in range(8)]
    for path in paths:
        save_delta(path, delta_of(static))
    assert len({path.read_bytes() for path in paths}) == 1


def _not_finite(tensors: Tensors, _: dict[str, str]) -> None:
    tensors["lm_head.lora_B"][0, 0] = float("nan")


def _wrong_shape(tensors: Tensors, _: dict[str, str]) -> None:
    tensors["midlayer.mlp.up_proj.lora_A"] = tensors["midlayer.mlp.up_proj.lora_A"][:, :-1].contiguous()


def _wrong_type(tensors: Tensors, _: dict[str, str]) -> None:
    tensors["lm_head.lora_A"] = tensors["lm_head.lora_A"].to(torch.int32)


def _missing(tensors: Tensors, _: dict[str, str]) -> None:
    del tensors["midlayer.mlp.down_proj.lora_B"]


def _foreign(_: Tensors, metadata: dict[str, str]) -> None:
    metadata["static_sha256"] = "f" * 64


def _newer(_: Tensors, metadata: dict[str, str]) -> None:
    metadata["format_version"] = "2"


def _huge_rank(_: Tensors, metadata: dict[str, str]) -> None:
    metadata["rank"] = "4096"


def _odd_temperature(_: Tensors, metadata: dict[str, str]) -> None:
    metadata["temperature"] = "nan"


def _foreign_token(tensors: Tensors, _: dict[str, str]) -> None:
    tensors["memory.tokens"][0] = VOCABULARY


def _falling_offsets(tensors: Tensors, _: dict[str, str]) -> None:
    tensors["memory.offsets"][1] = 9


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_not_finite, "isn't finite"),
        (_wrong_shape, "expected"),
        (_wrong_type, "not floating point"),
        (_missing, "missing"),
        (_foreign, "another static drafter"),
        (_newer, "format_version"),
        (_huge_rank, "out of range"),
        (_odd_temperature, "out of range"),
        (_foreign_token, "vocabulary"),
        (_falling_offsets, "offsets decrease"),
    ],
)
def test_a_damaged_or_foreign_delta_is_refused(
    static: EagleCheckpoint, tmp_path: Path, damage: Damage, reason: str
) -> None:
    path = tmp_path / "delta.safetensors"
    save_delta(path, delta_of(static))
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    damage(tensors, metadata)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ArtifactError, match=reason):
        load_delta(path, static)


def test_a_truncated_or_random_file_is_refused(static: EagleCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "delta.safetensors"
    save_delta(path, delta_of(static))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 200):
        path.write_bytes(content)
        with pytest.raises(ArtifactError):
            load_delta(path, static)
    with pytest.raises(ArtifactError):
        load_delta(tmp_path / "absent.safetensors", static)


def test_the_merged_checkpoint_drafts_as_static_plus_delta(static: EagleCheckpoint, tmp_path: Path) -> None:
    save_delta(tmp_path / "delta.safetensors", delta_of(static))
    merge(tmp_path / "static", tmp_path / "delta.safetensors", tmp_path / "merged")
    embeddings = tiny_embeddings()  # float64: only the merged weights are rounded
    both = EagleDrafter.load(tmp_path / "static", embeddings, num_slots=1, max_context=32, min_survival=0.0)
    merged = EagleDrafter.load(tmp_path / "merged", embeddings, num_slots=1, max_context=32, min_survival=0.0)
    sequence = FakeSequence([5, 9, 2, 33, 17, 8])
    features = torch.randn(5, 3 * CONFIG.hidden_size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for drafter in (both, merged):
        drafter.extend(sequence, 0, sequence.tokens[1:], features)
    delta = replace(both.load_delta(tmp_path / "delta.safetensors"), confidence_temperature=1.0)
    (expected,) = both.propose([sequence], [4], [delta])
    (proposal,) = merged.propose([sequence], [4])
    assert proposal.tokens == expected.tokens
    assert proposal.confidences == pytest.approx(expected.confidences, rel=0.1)


def test_a_checkpoint_with_a_missing_key_or_hot_token_outside_the_vocabulary_is_refused(
    static: EagleCheckpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "static"
    tensors = load_file(folder / "model.safetensors")
    tensors["d2t"][-1] = VOCABULARY
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match="outside the target's vocabulary"):
        load_checkpoint(folder)
    (folder / "config.json").write_text('{"hidden_size": 16}')
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_checkpoint(folder)


def test_memory_keeps_the_newest_whole_sequences() -> None:
    assert newest_sequences([[1, 2], [3], [4, 5, 6]], limit=4) == ((3,), (4, 5, 6))
    assert newest_sequences([[1, 2, 3]], limit=2) == ()
