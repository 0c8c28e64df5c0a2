"""dataplane/models/native.py against the PyTorch forward pass on the same weights."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from cpu_kernels import Library
from cpu_kernels.build import EMULATED, VARIANTS, Variant, build
from cpu_kernels.packing import rounded
from dataplane.models.attention import Span
from dataplane.models.generate import generate_batch, prefill, score_tokens
from dataplane.models.kv_cache import KvCacheError
from dataplane.models.llama import LlamaConfig, LlamaModel, ModelError
from dataplane.models.native import NativeLlama
from tests.dataplane.models.test_bit_exactness import check as check_bits
from tests.tiny_llama import TINY_NATIVE, tiny_native, tiny_tensors


def need_native(model: LlamaModel) -> LlamaModel:
    if model.native is None:
        pytest.skip(model.kernels)
    return model


def exact(config: LlamaConfig = TINY_NATIVE, layers: tuple[int, ...] = (0, 1, 2)) -> LlamaModel:
    """The same bf16 weights, computed in float64."""
    tensors = {name: tensor.double() for name, tensor in tiny_tensors(config, dtype=torch.bfloat16).items()}
    return LlamaModel(config, tensors, feature_layers=layers)


def assert_as_exact(native: LlamaModel, pytorch: LlamaModel, reference: LlamaModel) -> None:
    """Mean errors of logits and features, against those of PyTorch in bf16."""
    expected, exact_features = score_tokens(reference, TOKENS)
    exact_logits = reference.logits(expected)
    errors = []
    for model in (native, pytorch):
        hidden, features = score_tokens(model, TOKENS)
        errors.append(((model.logits(hidden) - exact_logits).abs().mean(), (features - exact_features).abs().mean()))
    (logits, features), (usual_logits, usual_features) = errors
    assert logits <= 1.1 * usual_logits and features <= 1.1 * usual_features


TOKENS = torch.randint(0, TINY_NATIVE.vocab_size, (150,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": False, "num_kv_heads": 4},
        {"head_dim": 48, "num_heads": 3, "num_kv_heads": 1, "intermediate_size": 16, "hidden_size": 48},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    ],
    ids=["grouped", "own head, no groups", "odd sizes", "stretched rope"],
)
def test_the_native_pass_is_as_close_to_the_exact_result_as_pytorch_in_bf16(changes: dict[str, object]) -> None:
    config = dataclasses.replace(TINY_NATIVE, **changes)  # type: ignore[arg-type]
    tensors = tiny_tensors(config, dtype=torch.bfloat16)
    native = need_native(LlamaModel(config, tensors, feature_layers=(0, 1, 2)))
    assert_as_exact(native, LlamaModel(config, tensors, feature_layers=(0, 1, 2), native=False), exact(config))


@pytest.mark.parametrize("changes", [{}, {"tied": False, "hidden_size": 64, "intermediate_size": 128}])
def test_weights_of_eight_bits_compute_the_model_with_rounded_weights(changes: dict[str, object]) -> None:
    """As close to it as bf16 in PyTorch would be; and rows don't depend on each other."""
    config = dataclasses.replace(TINY_NATIVE, **changes)  # type: ignore[arg-type]
    tensors = tiny_tensors(config, dtype=torch.bfloat16)
    native = need_native(LlamaModel(config, tensors, feature_layers=(0, 1, 2), in_bytes=True))
    assert "8 bits" in native.kernels
    whole = {
        name: rounded(value.float()) if value.dim() == 2 and "embed" not in name else value
        for name, value in tensors.items()
    }
    if config.tied:  # the table is looked up in bf16, the head is rounded
        config = dataclasses.replace(config, tied=False)
        whole["lm_head.weight"] = rounded(tensors["model.embed_tokens.weight"].float())
    options = {"feature_layers": (0, 1, 2), "native": False}
    pytorch = LlamaModel(config, {name: value.bfloat16() for name, value in whole.items()}, **options)  # type: ignore[arg-type]
    reference = LlamaModel(config, {name: value.double() for name, value in whole.items()}, **options)  # type: ignore[arg-type]
    assert_as_exact(native, pytorch, reference)
    check_bits(native, first=29, last=40, trials=2, seed=0, tolerance=0.0)


def test_weights_of_eight_bits_are_refused_without_the_kernels() -> None:
    tensors = tiny_tensors(TINY_NATIVE, dtype=torch.float32)
    with pytest.raises(ModelError, match="need the native kernels: they compute in bf16"):
        LlamaModel(TINY_NATIVE, tensors, in_bytes=True)


def test_keys_and_values_are_those_of_the_pytorch_pass() -> None:
    caches = []
    for model in (need_native(tiny_native()), tiny_native(native=False)):
        cache = model.new_cache(2, 200)
        cache.allocate()
        list(prefill(model, cache, cache.allocate(), TOKENS))
        caches.append(cache.read(1, 0, len(TOKENS)).float())
        assert not cache.layers[0][: cache.stride].any()  # the other slot was left alone
    torch.testing.assert_close(caches[0][0], caches[1][0], rtol=0.02, atol=0.02)  # the first layer: no errors add up


def test_features_come_in_the_order_asked_for_even_twice() -> None:
    tensors = tiny_tensors(TINY_NATIVE, dtype=torch.bfloat16)
    plain = need_native(LlamaModel(TINY_NATIVE, tensors, feature_layers=(0, 1, 2)))
    mixed = LlamaModel(TINY_NATIVE, tensors, feature_layers=(2, 0, 2))
    low, _, high = score_tokens(plain, TOKENS)[1].chunk(3, -1)
    assert torch.equal(score_tokens(mixed, TOKENS)[1], torch.cat([high, low, high], -1))


def test_a_chunked_prompt_gives_the_same_bits() -> None:
    model = need_native(tiny_native())
    _, whole = score_tokens(model, TOKENS)
    cache = model.new_cache(1)
    slot = cache.allocate()
    parts = [
        features
        for first, last in ((0, 1), (1, 64), (64, 67), (67, len(TOKENS)))
        for _, features in prefill(model, cache, slot, TOKENS[first:last])
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_bad_rows_are_refused_before_the_kernels_see_them() -> None:
    model = need_native(tiny_native())
    cache = model.new_cache(1, 64)
    slot = cache.allocate()
    with pytest.raises(KvCacheError):
        model.plan([Span(slot, 60, 5)], cache)
    plan = model.plan([Span(slot, 0, 1)], cache)
    with pytest.raises(IndexError):
        model.forward(torch.tensor([TINY_NATIVE.vocab_size]), plan, cache)
    with pytest.raises(IndexError):
        model.forward(torch.tensor([-1]), plan, cache)
    with pytest.raises(ValueError):
        model.logits(torch.zeros(1, TINY_NATIVE.hidden_size))


def test_no_rows_are_no_work() -> None:
    model = need_native(tiny_native())
    cache = model.new_cache(1, 64)
    hidden, features = model.forward(torch.empty(0, dtype=torch.int64), model.plan([], cache), cache)
    assert hidden.shape == (0, 32) and features.shape == (0, 96) and model.logits(hidden).shape == (0, 61)


@pytest.mark.parametrize(
    ("changes", "dtype", "reason"),
    [({"head_dim": 8}, torch.bfloat16, "head size 8"), ({}, torch.float32, "bf16")],
)
def test_a_model_that_does_not_fit_runs_in_pytorch(changes: dict[str, int], dtype: torch.dtype, reason: str) -> None:
    config = dataclasses.replace(TINY_NATIVE, **changes)
    model = LlamaModel(config, tiny_tensors(config, dtype=dtype))
    assert model.native is None and reason in model.kernels
    assert score_tokens(model, TOKENS[:9])[0].shape == (9, 32)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.parametrize("variant", [EMULATED, VARIANTS[-1]], ids=lambda variant: variant.name)
def test_every_code_path_computes_the_same_model(variant: Variant, tmp_path: Path) -> None:
    """AVX-512 BF16's is emulated, and both are compiled so that undefined behaviour stops them."""
    flags = ("-fsanitize=undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=all", "-O1")
    library = Library(build(variant, tmp_path, extra_flags=flags))
    tensors = tiny_tensors(TINY_NATIVE, dtype=torch.bfloat16)
    pytorch, model = tiny_native(native=False), tiny_native(native=False)
    model.native = NativeLlama(library, TINY_NATIVE, tensors, feature_layers=(0, 1, 2), cos=model._cos, sin=model._sin)
    assert_as_exact(model, pytorch, exact())
    check_bits(model, first=29, last=40, trials=2, seed=0, tolerance=0.0)
    outputs = []
    for one in (library, need_native(tiny_native()).native.library):  # type: ignore[union-attr]
        model.native = NativeLlama(
            one, TINY_NATIVE, tensors, feature_layers=(0, 1, 2), cos=model._cos, sin=model._sin, in_bytes=True
        )
        outputs.append(model.logits(score_tokens(model, TOKENS)[0]))
    torch.testing.assert_close(*outputs, rtol=0.1, atol=0.1)  # products are exact, attention is not


@pytest.mark.real_model
def test_the_real_model_in_the_native_kernels(real_model: Path) -> None:
    """Against float32: not further than PyTorch's bf16, the same likeliest token nearly always, and the same text."""
    from dataplane.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(real_model)
    native = need_native(LlamaModel.load(real_model, max_context=512))
    reference = LlamaModel.load(real_model, dtype=torch.float32, max_context=512)
    tokens = tokenizer.encode("The quick brown fox jumps over the lazy dog. def add(a, b):\n    return a + b\n" * 2)
    hidden, features = score_tokens(native, tokens)
    expected, exact_features = score_tokens(reference, tokens)
    logits, exact_logits = native.logits(hidden), reference.logits(expected)
    assert (logits - exact_logits).abs().mean() < 0.2 and (logits - exact_logits).abs().max() < 2.5
    assert (logits.argmax(-1) == exact_logits.argmax(-1)).float().mean() > 0.93
    relative = (features.float() - exact_features).norm() / exact_features.norm()
    assert relative < 0.02
    prompts = [tokenizer.encode(f"{question}") for question in ("The capital of France is", "1, 2, 3, 4,")]
    alone = [next(generate_batch(native, [prompt], max_new_tokens=24)).tokens for prompt in prompts]
    together = {one.index: one.tokens for one in generate_batch(native, prompts, max_new_tokens=24)}
    assert alone == [together[0], together[1]]
