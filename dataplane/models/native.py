"""The Llama forward pass in the CPU kernels: weights packed for them, one call per forward (kernels/cpu_kernels).

A row's bits depend on its own sequence alone, for any number of rows and threads, so that nothing has to be padded,
doubled or cut as in `attention.py`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cpu_kernels import BuildError, Library, PackedLinear, PackedWeights, load_library
from cpu_kernels.library import Batch, Layer, Model
from cpu_kernels.packing import PANEL, Matrix, padded_size
from dataplane.models.attention import Span
from dataplane.models.kv_cache import KvCache, KvCacheError

if TYPE_CHECKING:
    from dataplane.models.llama import LlamaConfig


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Where each row of a forward stands."""

    positions: Sequence[int]  # [R]
    offsets: Sequence[int]  # [R] cache row of position 0 of its sequence
    places: Sequence[int]  # [R] cache row that it writes: offset + position, or aside


def plan_rows(spans: Sequence[Span], cache: KvCache) -> RowPlan:
    """Rows of `spans`, in this order. Raises KvCacheError."""
    if any(span.start + span.count > cache.max_context for span in spans):
        raise KvCacheError(f"a sequence would grow beyond {cache.max_context} positions")
    positions: list[int] = []
    offsets: list[int] = []
    places: list[int] = []
    for span in spans:
        first = span.slot * cache.stride
        positions += range(span.start, span.start + span.count)
        places += range(first + span.start, first + span.start + span.count)
        for index in range(span.alternatives):
            positions.append(span.start + 1)
            places.append(cache.row_aside(span.slot, index))
        offsets += [first] * (span.count + span.alternatives)
    return RowPlan(positions, offsets, places)


def unsupported(config: LlamaConfig, embedding: torch.Tensor) -> str | None:
    """Why the kernels can't run this model; None if they can."""
    if embedding.dtype != torch.bfloat16 or embedding.device.type != "cpu":
        return f"they compute in bf16 on a CPU, not in {embedding.dtype} on {embedding.device}"
    sizes = {"hidden size": config.hidden_size, "inner size": config.intermediate_size, "head size": config.head_dim}
    for name, size in sizes.items():
        if size % PANEL:
            return f"the {name} {size} is no multiple of {PANEL}"
    if config.num_heads % config.num_kv_heads:
        return f"{config.num_heads} heads don't share {config.num_kv_heads} key-value heads evenly"
    return None


class NativeLlama:
    """Packed weights of one model and the calls that use them."""

    def __init__(
        self,
        library: Library,
        config: LlamaConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        feature_layers: Sequence[int],
        cos: torch.Tensor,  # [positions, D], as in `llama.py`
        sin: torch.Tensor,  # [positions, D], the first half negative
        in_bytes: bool = False,
    ) -> None:
        """`in_bytes`: matrices are kept with 8 bits a weight and a scale per output."""
        self.library = library
        self._config = config
        self._features = sorted(set(feature_layers))  # the kernels write each once
        self._order = [self._features.index(layer) for layer in feature_layers]
        self._embedding = tensors["model.embed_tokens.weight"].contiguous()
        head = self._embedding if config.tied else tensors["lm_head.weight"]
        hidden, inner = config.hidden_size, config.intermediate_size
        query, key_value = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        per_layer = hidden * (2 * query + 2 * key_value + 3 * inner)
        num_weights = config.num_layers * per_layer + padded_size(config.vocab_size, hidden)
        self.weights = PackedWeights(num_weights, in_bytes=in_bytes)
        self._packed: list[PackedLinear] = []  # kept: pointed into
        half = config.head_dim // 2
        self._floats = [cos[:, half:].float().contiguous(), sin[:, half:].float().contiguous()]  # kept: pointed into
        layers = (Layer * config.num_layers)()
        for index in range(config.num_layers):
            feature = self._features.index(index) if index in self._features else -1
            layers[index] = self._pack(tensors, f"model.layers.{index}.", feature)
        self._head = self.weights.add(head)
        self._model = Model(
            hidden=hidden,
            inner=inner,
            layers=config.num_layers,
            heads=config.num_heads,
            kv_heads=config.num_kv_heads,
            dim=config.head_dim,
            features=len(self._features),
            epsilon=config.rms_norm_eps,
            layer=layers,
            embedding=self._embedding.data_ptr(),
            norm=self._float(tensors["model.norm.weight"]),
            cos=self._floats[0].data_ptr(),
            sin=self._floats[1].data_ptr(),
        )

    def forward(self, token_ids: Sequence[int], plan: RowPlan, cache: KvCache) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LlamaModel.forward`: [R] -> normalised hidden [R, H] and features [R, F H], bf16.

        A step of one row takes ten milliseconds: what surrounds the call stays in plain Python, where every tensor
        that is not made saves a thousandth of that.
        """
        rows, hidden = len(token_ids), self._config.hidden_size
        outputs = torch.empty((rows, hidden), dtype=torch.bfloat16)
        captured = torch.empty((rows, len(self._features), hidden), dtype=torch.bfloat16)
        if not rows:
            return outputs, captured.view(0, len(self._order) * hidden)
        if min(token_ids) < 0 or max(token_ids) >= self._config.vocab_size:
            raise IndexError("a token is outside of the vocabulary")
        integers = ctypes.c_int64 * rows
        tokens, positions = integers(*token_ids), integers(*plan.positions)
        offsets, places = integers(*plan.offsets), integers(*plan.places)
        batch = Batch(
            rows=rows,
            tokens=ctypes.addressof(tokens),
            positions=ctypes.addressof(positions),
            offsets=ctypes.addressof(offsets),
            places=ctypes.addressof(places),
            cache=cache.addresses,
            hidden=outputs.data_ptr(),
            captured=captured.data_ptr(),
        )
        self.library.forward(self._model, batch)
        if self._order != list(range(len(self._features))):
            captured = captured[:, self._order]
        return outputs, captured.reshape(rows, -1)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """[R, H] -> [R, V] float32: unrounded, so that near ties are decided by the sums themselves."""
        return self.library.linear(self._head, hidden, torch.float32)

    def ranked_logits(self, hidden: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """`logits`, and the argmax of each row, the lowest of equals."""
        return self.library.ranked_linear(self._head, hidden)

    def _pack(self, tensors: Mapping[str, torch.Tensor], prefix: str, feature: int) -> Layer:
        def weight(*names: str) -> torch.Tensor:
            return torch.cat([tensors[f"{prefix}{name}.weight"] for name in names])

        gate, up = weight("mlp.gate_proj"), weight("mlp.up_proj")
        shape = (-1, PANEL, self._config.hidden_size)
        pairs = torch.stack([gate.view(shape), up.view(shape)], 1).view(-1, self._config.hidden_size)
        attention = (f"self_attn.{part}_proj" for part in "qkv")
        return Layer(
            input_norm=self._float(weight("input_layernorm")),
            projection=self._matrix(weight(*attention)),
            output=self._matrix(weight("self_attn.o_proj")),
            mlp_norm=self._float(weight("post_attention_layernorm")),
            gate_up=self._matrix(pairs),
            down=self._matrix(weight("mlp.down_proj")),
            feature=feature,
        )

    def _matrix(self, weight: torch.Tensor) -> Matrix:
        self._packed.append(self.weights.add(weight))
        return self._packed[-1].pointer()

    def _float(self, values: torch.Tensor) -> int:
        self._floats.append(values.float().contiguous())
        return self._floats[-1].data_ptr()


def available_library() -> tuple[Library | None, str]:
    """The kernels, or None and why they can't be used."""
    try:
        return load_library(), ""
    except BuildError as error:
        return None, str(error)
