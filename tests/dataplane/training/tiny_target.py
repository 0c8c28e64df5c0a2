"""A tiny random Llama with a word tokenizer, as a Hugging Face-layout folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY, HIDDEN, INTERMEDIATE, LAYERS = 96, 32, 64, 4
WORDS = "red green blue cat dog bird tree house what is the of and why how write list a short long".split()
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}the"


def write_tiny_target(folder: Path) -> Path:
    """Write the folder; the weights are sharp enough that greedy text has a structure to learn."""
    generator = torch.Generator().manual_seed(0)

    def weight(*shape: int, scale: float = 0.3) -> torch.Tensor:
        return (scale * torch.randn(shape, generator=generator)).bfloat16()

    ones = torch.ones(HIDDEN, dtype=torch.bfloat16)
    tensors = {"model.embed_tokens.weight": weight(VOCABULARY, HIDDEN, scale=1.0), "model.norm.weight": ones}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors[prefix + "input_layernorm.weight"] = ones.clone()
        tensors[prefix + "post_attention_layernorm.weight"] = ones.clone()
        for name, rows in (("q", HIDDEN), ("k", HIDDEN // 2), ("v", HIDDEN // 2), ("o", HIDDEN)):
            tensors[f"{prefix}self_attn.{name}_proj.weight"] = weight(rows, HIDDEN)
        tensors[prefix + "mlp.gate_proj.weight"] = weight(INTERMEDIATE, HIDDEN)
        tensors[prefix + "mlp.up_proj.weight"] = weight(INTERMEDIATE, HIDDEN)
        tensors[prefix + "mlp.down_proj.weight"] = weight(HIDDEN, INTERMEDIATE)
    save_file(tensors, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000.0,
        "tie_word_embeddings": True,
        "eos_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    words = {"<end>": 0, **{word: index for index, word in enumerate(WORDS, start=1)}}
    words.update({f"word{index}": index for index in range(len(words), VOCABULARY)})
    vocabulary = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
    vocabulary.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": TEMPLATE, "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
