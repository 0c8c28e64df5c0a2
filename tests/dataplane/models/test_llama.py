"""dataplane/models/llama.py against `transformers` on the same weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dataplane.models.generate import generate_batch, prefill, score_tokens
from dataplane.models.llama import LlamaConfig, LlamaModel, ModelError
from tests.tiny_llama import TINY, tiny_llama, tiny_tensors

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def write_tiny(folder: Path, *, shards: int = 1, **changes: Any) -> dict[str, Any]:
    """A Hugging Face-layout folder of the tiny model; returns its config.json."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": TINY.hidden_size,
        "intermediate_size": TINY.intermediate_size,
        "num_hidden_layers": TINY.num_layers,
        "num_attention_heads": TINY.num_heads,
        "num_key_value_heads": TINY.num_kv_heads,
        "head_dim": TINY.head_dim,
        "vocab_size": TINY.vocab_size,
        "max_position_embeddings": TINY.max_context,
        "rms_norm_eps": TINY.rms_norm_eps,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "rope_theta": 10000.0,
    } | changes
    shape = dataclasses.replace(TINY, tied=config["tie_word_embeddings"])
    tensors = tiny_tensors(shape)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return config
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file({name: tensors[name] for name in names[shard::shards]}, folder / file)
        weight_map |= dict.fromkeys(names[shard::shards], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return config


@pytest.mark.parametrize(
    ("shards", "changes"),
    [
        (1, {}),
        (3, {"tie_word_embeddings": False}),
        (1, {"rope_theta": None, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}),
        (1, {"rope_scaling": LLAMA3}),
    ],
    ids=["tied", "sharded, own head", "rope_parameters", "llama3 rope"],
)
def test_any_llama_folder_gives_the_logits_of_transformers(
    tmp_path: Path, shards: int, changes: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    write_tiny(tmp_path, shards=shards, **changes)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    model = LlamaModel.load(tmp_path, dtype=torch.float64, feature_layers=(0, 1, 2))
    tokens = torch.randint(0, TINY.vocab_size, (200,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(tokens[None], output_hidden_states=True)
    hidden, features = score_tokens(model, tokens.tolist())
    # transformers normalises in float32 whatever the dtype of the model
    torch.testing.assert_close(model.logits(hidden), expected.logits[0], rtol=1e-4, atol=1e-4)
    layers = torch.cat([expected.hidden_states[index + 1][0] for index in (0, 1, 2)], -1)
    torch.testing.assert_close(features, layers, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mistral"},
        {"attention_bias": True},
        {"rope_scaling": {"rope_type": "yarn"}},
        {"num_hidden_layers": 5},
    ],
)
def test_a_model_that_cannot_be_served_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_tiny(tmp_path, **changes)
    with pytest.raises(ModelError):
        LlamaModel.load(tmp_path, dtype=torch.float64)


def test_an_empty_or_broken_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        LlamaModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError):
        LlamaModel.load(tmp_path)
    with pytest.raises(ModelError, match="feature layers"):
        LlamaModel(TINY, tiny_tensors(), feature_layers=(0, 1, 4))
    with pytest.raises(ModelError, match="lacks 'hidden_size'"):
        LlamaConfig.from_dict({"model_type": "llama", "num_attention_heads": 1})


def test_batched_generation_equals_one_prompt_at_a_time() -> None:
    model = tiny_llama()
    prompts = [[3, 4, 5], [7], [9, 8, 7, 6, 5, 4], [11, 12]]
    alone = [next(generate_batch(model, [prompt], max_new_tokens=12)).tokens for prompt in prompts]
    together = {one.index: one.tokens for one in generate_batch(model, prompts, max_new_tokens=12, num_slots=3)}
    assert [together[index] for index in range(len(prompts))] == alone
    with pytest.raises(ValueError, match="prompt 0"):
        list(generate_batch(model, [[]], max_new_tokens=1))


def test_features_do_not_depend_on_where_a_prompt_is_cut() -> None:
    model = tiny_llama()
    tokens = torch.randint(0, TINY.vocab_size, (90,), generator=torch.Generator().manual_seed(2)).tolist()
    _, whole = score_tokens(model, tokens)
    cache = model.new_cache(1)
    slot = cache.allocate()
    parts = [features for cut in (tokens[:31], tokens[31:]) for _, features in prefill(model, cache, slot, cut)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.real_model
def test_the_real_model_gives_the_logits_of_transformers(real_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "The quick brown fox jumps over the lazy dog. def add(a, b):\n    return a + b\n" * 3
    tokens = AutoTokenizer.from_pretrained(real_model)(text)["input_ids"]
    reference = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    with torch.no_grad():
        expected = reference(torch.tensor([tokens]), output_hidden_states=True)
    exact = LlamaModel.load(real_model, dtype=torch.float32, max_context=512)
    hidden, features = score_tokens(exact, tokens)
    torch.testing.assert_close(exact.logits(hidden), expected.logits[0], rtol=1e-3, atol=1e-3)
    layers = torch.cat([expected.hidden_states[index + 1][0] for index in (2, 15, 27)], -1)
    torch.testing.assert_close(features, layers, rtol=1e-3, atol=1e-2)

    packed = LlamaModel.load(real_model, max_context=512)
    logits = packed.logits(score_tokens(packed, tokens)[0]).float()
    assert (logits.argmax(-1) == expected.logits[0].argmax(-1)).float().mean() > 0.93
    assert (logits - expected.logits[0]).abs().mean() < 0.2
