"""The drafter that this repository ships for SmolLM2-135M-Instruct."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dataplane.models.llama import LlamaModel
from dataplane.models.tokenizer import Tokenizer
from dataplane.speculation.drafters.checkpoint import load_checkpoint
from dataplane.training.evaluate import Request, replay
from dataplane.training.replay_set import REPLAY_FILE, read_replay_set

FOLDER = Path(__file__).parents[3] / "dataplane" / "checkpoints" / "smollm2-135m-instruct-eagle3"


def test_it_has_the_form_that_sglang_loads_and_fits_into_the_repository() -> None:
    checkpoint = load_checkpoint(FOLDER)
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLMEagle3"]
    assert config["draft_vocab_size"] == len(checkpoint.hot_tokens) == 8192
    assert config["eagle_config"]["eagle_aux_hidden_state_layer_ids"] == [2, 15, 27]
    assert {value.dtype for value in checkpoint.tensors.values()} == {torch.bfloat16, torch.int64, torch.bool}
    assert checkpoint.tensors["t2d"].sum() == 8192
    assert (FOLDER / "model.safetensors").stat().st_size < 30e6
    assert (FOLDER / REPLAY_FILE).stat().st_size < 200e3
    assert len(read_replay_set(FOLDER)) == 41


def test_its_replay_set_is_cut_to_what_training_scores() -> None:
    whole, fitting = read_replay_set(FOLDER), read_replay_set(FOLDER, longest=512)
    assert max(len(tokens) for tokens, _ in whole) > 1024 > max(len(tokens) for tokens, _ in fitting) == 512
    assert fitting == [(tokens[:512], prompt) for tokens, prompt in whole if prompt < 512]
    assert 0 < len(fitting) < len(whole)


@pytest.mark.real_model
def test_the_target_accepts_its_drafts(real_model: Path) -> None:
    model, tokenizer = LlamaModel.load(real_model), Tokenizer.load(real_model)
    texts = ("Write a Python function that adds two numbers.", "Write a short poem about the sea.")
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": text}]) for text in texts]
    replayed = replay(model, FOLDER, [Request(tuple(prompt), 48) for prompt in prompts], {}).arms["static"]
    assert replayed.tokens == 96
    assert replayed.acceptance_length > 1.4
