"""The neural drafter: an EAGLE-3 head at serving time, static or with a tenant's delta.

Position t of a sequence pairs the target's feature of token t with the embedding of token t + 1:

    position      0    1    2   ...   t          | t+1      t+2         rotary position of the draft's key
    hidden        f0   f1   f2  ...   ft         | h(t)     h(t+1)      target feature | the drafter's own output
    token         x1   x2   x3  ...   x(t+1)     | draft 1  draft 2
    drafts                            draft 1    | draft 2  draft 3
                  [ committed: extend()          )[ provisional: propose(), overwritten by the next extend() )

`extend` only fills the key-value cache, because nobody reads the output of a committed position but the last one's;
that one is computed by `propose`, so that the static drafter and every delta share the cache. The source may change at
each step. On a CPU in bf16 whole chains run in kernels of our own (`native.py`), with weights of 8 bits; elsewhere
PyTorch runs them, operation by operation.

Source: EAGLE-3, Li et al. 2025 (arXiv 2503.01840). B rows (sequences), H hidden size, D head dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from cpu_kernels.draft import Chain, DraftKernels
from dataplane.speculation.drafters.checkpoint import EAGLE, EagleCheckpoint, EagleConfig, load_checkpoint
from dataplane.speculation.drafters.delta import TenantDelta, load_delta
from dataplane.speculation.drafters.native import draft_kernels
from dataplane.speculation.drafters.projection import projection
from dataplane.speculation.types import EMPTY_PROPOSAL, Proposal, SequenceView, Source

if TYPE_CHECKING:
    from dataplane.speculation.drafters.batched import BatchedDeltas

MAX_LOOKAHEAD = 16  # provisional positions kept free behind the longest context


_IN_KERNELS = torch.empty(0)


class DraftStateError(RuntimeError):
    """`extend` was called with a gap, or beyond the context: the slot's draft state doesn't match its sequence."""


@dataclass(slots=True)
class DraftState:
    """One slot: `length` committed positions are in the cache; the last one's inputs wait for `propose`."""

    length: int
    token: int  # paired with the last position
    inputs: torch.Tensor  # [1, 2H] normalised embedding | normalised hidden; [0] where the kernels keep them
    hidden: torch.Tensor  # [1, H]; [0] likewise


class EagleDrafter:
    """The static drafter of one target, for `num_slots` sequences of at most `max_context` positions.

    `min_survival`: a chain ends after the token at which the product of its confidences falls below this.
    `fused`: choice and deltas in Triton kernels; by default on CUDA.
    """

    source: Source = "static"

    def __init__(
        self,
        checkpoint: EagleCheckpoint,
        embeddings: torch.Tensor,  # [V, H] the target's; their dtype and device are the drafter's
        *,
        num_slots: int,
        max_context: int,
        min_survival: float = 0.1,
        native: bool = True,  # False: in PyTorch for certain
        fused: bool | None = None,
    ) -> None:
        config, tensors = checkpoint.config, checkpoint.tensors
        self.checkpoint = checkpoint
        self.config: EagleConfig = config
        self.min_survival = min_survival
        self._embeddings = embeddings
        self._hot: list[int] = checkpoint.hot_tokens.tolist()
        self._context = max_context
        self._states: dict[int, DraftState] = {}
        length = max_context + MAX_LOOKAHEAD
        cos, sin = rotary_table(length, config, embeddings.dtype)
        self._cos, self._sin = cos.to(embeddings.device), sin.to(embeddings.device)
        fused = embeddings.is_cuda if fused is None else fused
        self._batched: BatchedDeltas | None = None
        native = native and not fused
        self._kernels = draft_kernels(checkpoint, embeddings, cos=cos, sin=sin, num_slots=num_slots) if native else None
        if self._kernels is not None:
            return

        def weight(*names: str) -> torch.Tensor:
            return torch.cat([tensors[f"{name}.weight"] for name in names]).to(embeddings)

        attention = "midlayer.self_attn."
        self._fuse = projection(weight("fc"))
        if config.design == EAGLE:
            self._qkv = projection(weight(attention + "q_proj", attention + "k_proj", attention + "v_proj"))
            self._kv = projection(weight(attention + "k_proj", attention + "v_proj"))
            self._output = projection(weight(attention + "o_proj"))
        else:
            self._mix = projection(weight("midlayer.mix"))
        self._gate_up = projection(weight("midlayer.mlp.gate_proj", "midlayer.mlp.up_proj"))
        self._down = projection(weight("midlayer.mlp.down_proj"))
        self._head = projection(weight("lm_head"))
        self._embedding_norm = weight("midlayer.input_layernorm")
        self._hidden_norm = weight("midlayer.hidden_norm")
        self._mlp_norm = weight("midlayer.post_attention_layernorm")
        self._norm = weight("norm")
        cache = (num_slots, config.num_kv_heads, length, config.head_dim)
        self._keys = torch.zeros(cache, dtype=embeddings.dtype, device=embeddings.device)
        self._values = torch.zeros_like(self._keys)
        if fused:
            from dataplane.speculation.drafters.batched import BatchedDeltas  # Triton comes with CUDA builds only

            self._batched = BatchedDeltas(config, embeddings)

    @classmethod
    def load(
        cls,
        folder: Path,
        embeddings: torch.Tensor,
        *,
        num_slots: int,
        max_context: int,
        min_survival: float = 0.1,
    ) -> EagleDrafter:
        """The drafter of a checkpoint folder. Raises ArtifactError."""
        checkpoint = load_checkpoint(folder)
        return cls(checkpoint, embeddings, num_slots=num_slots, max_context=max_context, min_survival=min_survival)

    def sibling(self, *, num_slots: int) -> EagleDrafter:
        """Another one over the same weights, where the kernels hold them, with sequences of its own."""
        if self._kernels is None:
            return EagleDrafter(
                self.checkpoint,
                self._embeddings,
                num_slots=num_slots,
                max_context=self._context,
                min_survival=self.min_survival,
                native=False,
            )
        other = copy.copy(self)
        other._states = {}
        other._kernels = self._kernels.sibling(num_slots)
        return other

    def load_delta(self, path: Path) -> TenantDelta:
        """Read a tenant's delta and make it ready to draft with. Raises ArtifactError."""
        delta = load_delta(path, self.checkpoint).to(self._embeddings)
        return delta if self._kernels is None else delta.pack()

    def extend(self, sequence: SequenceView, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        """Commit positions start..start+n; see `types.Drafter.extend`. Raises DraftStateError for a gap."""
        held = self._states.get(sequence.slot)
        length = held.length if held is not None and start else 0
        end = start + len(tokens)
        if start != length or end > self._context:
            self._states.pop(sequence.slot, None)
            raise DraftStateError(f"positions {start}..{end} after {length} of at most {self._context}")
        if not tokens:
            return
        if self._kernels is not None:
            if features.dtype != torch.bfloat16:
                features = features.bfloat16()
            self._kernels.extend(sequence.slot, start, tokens, features)
            self._states[sequence.slot] = DraftState(end, tokens[-1], _IN_KERNELS, _IN_KERNELS)
            return
        self._extend_in_pytorch(sequence.slot, start, tokens, features)

    @torch.inference_mode()
    def _extend_in_pytorch(self, slot: int, start: int, tokens: Sequence[int], features: torch.Tensor) -> None:
        end = start + len(tokens)
        if self.config.design != EAGLE:  # only the last position matters
            tokens, features = tokens[-1:], features[-1:]
        hidden = self._fuse(features.to(self._embeddings))
        inputs = self._attention_inputs(torch.tensor(tokens, device=hidden.device), hidden)
        self._states[slot] = DraftState(end, tokens[-1], inputs[-1:], hidden[-1:])
        if self.config.design != EAGLE:
            return
        heads = self._kv(inputs).view(len(tokens), -1, self.config.head_dim).transpose(0, 1)  # [2 kv, n, D]
        keys, values = heads.chunk(2)
        self._keys[slot, :, start:end] = _rotate(keys, self._cos[start:end], self._sin[start:end])
        self._values[slot, :, start:end] = values

    def propose(
        self,
        sequences: Sequence[SequenceView],
        lookaheads: Sequence[int],
        deltas: Sequence[TenantDelta | None] | None = None,
        *,
        num_alternatives: int = 0,
    ) -> list[Proposal]:
        """Greedy chains of at most `lookaheads[i]` tokens, batched; source "adaptive" where `deltas[i]` is given.

        The kernels also name the `num_alternatives` next likeliest tokens for the first place. A sequence whose
        positions were not all committed by `extend` gets an empty proposal.
        """
        deltas = [None] * len(sequences) if deltas is None else deltas
        proposals = [EMPTY_PROPOSAL] * len(sequences)
        rows = [
            _Row(index, sequence.slot, state, min(lookahead, MAX_LOOKAHEAD), delta)
            for index, (sequence, lookahead, delta) in enumerate(zip(sequences, lookaheads, deltas, strict=True))
            if lookahead > 0
            and (state := self._states.get(sequence.slot)) is not None
            and state.length == len(sequence.tokens) - 1
        ]
        if self._kernels is not None:
            self._draft_natively(self._kernels, rows, num_alternatives)
        else:
            self._draft_in_pytorch(rows)
        for row in rows:
            source: Source = "static" if row.delta is None else "adaptive"
            sources = (source,) * len(row.tokens)
            proposals[row.index] = Proposal(
                tuple(row.tokens),
                tuple(row.confidences),
                sources,
                alternatives=tuple(row.others),
                alternative_confidences=tuple(row.other_confidences),
            )
        return proposals

    def observe(self, sequence: SequenceView, new_tokens: Sequence[int]) -> None:
        """Nothing to do: committed tokens arrive by `extend`, with their features."""

    def release(self, sequence: SequenceView) -> None:
        """The sequence has ended: its slot may be reused."""
        self._states.pop(sequence.slot, None)
        if self._kernels is not None:
            self._kernels.release(sequence.slot)

    def _draft_natively(self, kernels: DraftKernels, rows: Sequence[_Row], num_alternatives: int) -> None:
        chains = [
            Chain(
                slot=row.slot,
                position=row.state.length - 1,
                token=row.state.token,
                lookahead=row.lookahead,
                temperature=self._temperature(row.delta),
                delta=None if row.delta is None else row.delta.packed or row.delta.pack().packed,
            )
            for row in rows
        ]
        drafted = kernels.draft(chains, self.min_survival, num_others=num_alternatives)
        for row, found in zip(rows, drafted, strict=True):
            row.tokens, row.confidences = found.tokens, found.confidences
            row.others, row.other_confidences = found.others, found.other_confidences

    @torch.inference_mode()
    def _draft_in_pytorch(self, rows: list[_Row]) -> None:
        inputs = _stack([row.state.inputs for row in rows])
        hidden = _stack([row.state.hidden for row in rows])
        while rows:
            hidden = self._layer(rows, inputs, hidden)
            tokens, confidences = self._choose(rows, hidden)
            alive = []
            for place, (row, token, confidence) in enumerate(zip(rows, tokens, confidences, strict=True)):
                row.tokens.append(self._hot[token])
                row.confidences.append(confidence)
                row.survival *= confidence
                if len(row.tokens) < row.lookahead and row.survival >= self.min_survival:
                    alive.append(place)
            if len(alive) < len(rows):
                rows = [rows[place] for place in alive]
                hidden = hidden[alive]
            if rows:
                drafted = torch.tensor([row.tokens[-1] for row in rows], device=hidden.device)
                inputs = self._attention_inputs(drafted, hidden)

    def _temperature(self, delta: TenantDelta | None) -> float:
        return (self.config if delta is None else delta).confidence_temperature

    def _attention_inputs(self, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:  # [B], [B, H] -> [B, 2H]
        embedded = self._embeddings.index_select(0, tokens)
        return torch.cat(
            [self._normalise(embedded, self._embedding_norm), self._normalise(hidden, self._hidden_norm)], 1
        )

    def _normalise(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(values, (self.config.hidden_size,), weight, self.config.rms_norm_eps)

    def _layer(self, rows: Sequence[_Row], inputs: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """One position of every row through the layer, its key and value cached: [B, 2H], [B, H] -> [B, H]."""
        config = self.config
        if config.design != EAGLE:
            hidden = hidden + self._mix(inputs)
            return hidden + self._mlp(rows, self._normalise(hidden, self._mlp_norm))
        heads, kv_heads, dim = config.num_heads, config.num_kv_heads, config.head_dim
        projected = self._qkv(inputs).view(len(rows), heads + 2 * kv_heads, dim)
        mixed = []
        for place, row in enumerate(rows):
            position = row.state.length - 1 + len(row.tokens)
            turned = _rotate(projected[place, : heads + kv_heads], self._cos[position], self._sin[position])
            keys, values = self._keys[row.slot], self._values[row.slot]
            keys[:, position] = turned[heads:]
            values[:, position] = projected[place, heads + kv_heads :]
            query = turned[:heads].view(1, kv_heads, -1, dim)  # the query heads of a key head ride as rows
            seen = position + 1
            mixed.append(functional.scaled_dot_product_attention(query, keys[None, :, :seen], values[None, :, :seen]))
        hidden = hidden + self._output(_stack(mixed).reshape(len(rows), heads * dim))
        return hidden + self._mlp(rows, self._normalise(hidden, self._mlp_norm))

    def _mlp(self, rows: Sequence[_Row], inputs: torch.Tensor) -> torch.Tensor:
        gate, up = self._gate_up(inputs).chunk(2, 1)
        if self._batched is not None and any(row.delta is not None for row in rows):
            slots = self._batched.slots([row.delta for row in rows])
            self._batched.add("midlayer.mlp.gate_proj", gate, inputs, slots)
            self._batched.add("midlayer.mlp.up_proj", up, inputs, slots)
            inner = functional.silu(gate) * up
            output = self._down(inner)
            self._batched.add("midlayer.mlp.down_proj", output, inner, slots)
            return output
        groups = _delta_groups(rows)
        for delta, places in groups:
            chosen = _pick(inputs, places)
            gate = _add(gate, places, delta.apply("midlayer.mlp.gate_proj", chosen))
            up = _add(up, places, delta.apply("midlayer.mlp.up_proj", chosen))
        inner = functional.silu(gate) * up
        output = self._down(inner)
        for delta, places in groups:
            output = _add(output, places, delta.apply("midlayer.mlp.down_proj", _pick(inner, places)))
        return output

    def _choose(self, rows: Sequence[_Row], hidden: torch.Tensor) -> tuple[list[int], list[float]]:
        """The likeliest draft id of every row and its probability."""
        outputs = self._normalise(hidden, self._norm)
        logits = self._head(outputs)
        if self._batched is not None:
            return self._choose_fused(rows, outputs, logits)
        for delta, places in _delta_groups(rows):
            logits = _add(logits, places, delta.apply("lm_head", _pick(outputs, places)))
        temperatures = [self._temperature(row.delta) for row in rows]
        scaled = logits.float()
        if len(set(temperatures)) == 1:
            scaled = scaled / temperatures[0]
        else:
            scaled = scaled / torch.tensor(temperatures, device=logits.device)[:, None]
        confidences, tokens = scaled.softmax(-1).max(-1)
        return tokens.tolist(), confidences.tolist()

    def _choose_fused(
        self, rows: Sequence[_Row], outputs: torch.Tensor, logits: torch.Tensor
    ) -> tuple[list[int], list[float]]:
        """The rest of `_choose` in three launches."""
        from spec_kernels.hot import choose_hot

        assert self._batched is not None
        if any(row.delta is not None for row in rows):
            self._batched.add("lm_head", logits, outputs, self._batched.slots([row.delta for row in rows]))
        calibration = [(row.delta or self.config).confidence_temperature for row in rows]
        temperatures = torch.tensor(calibration, dtype=torch.float32).to(logits.device, non_blocking=True)
        chosen = choose_hot(logits, temperatures)
        return chosen.tokens[:, 0].tolist(), chosen.probs[:, 0].tolist()


class _Row:
    """A sequence while its chain grows."""

    __slots__ = (
        "confidences", "delta", "index", "lookahead", "other_confidences", "others", "slot", "state", "survival",
        "tokens",
    )  # fmt: skip

    def __init__(self, index: int, slot: int, state: DraftState, lookahead: int, delta: TenantDelta | None) -> None:
        self.index, self.slot, self.state, self.lookahead, self.delta = index, slot, state, lookahead, delta
        self.tokens: list[int] = []
        self.confidences: list[float] = []
        self.others: list[int] = []
        self.other_confidences: list[float] = []
        self.survival = 1.0


def rotary_table(length: int, config: EagleConfig, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and signed sines of positions 0..length, each [length, D]: turned = x cos + roll(x, D / 2) sin."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    angles = torch.outer(torch.arange(length, dtype=torch.float64), config.rope_theta**-exponents)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], 1).to(dtype), torch.cat([-sin, sin], 1).to(dtype)


def _rotate(values: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(values * cos, values.roll(values.shape[-1] // 2, -1), sin)


def _stack(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts)) if parts else torch.empty(0)


def _delta_groups(rows: Sequence[_Row]) -> list[tuple[TenantDelta, list[int] | None]]:
    """Rows by their delta; places None: every row has this one."""
    places: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        if row.delta is not None:
            places.setdefault(id(row.delta), []).append(place)
    groups = []
    for found in places.values():
        delta = rows[found[0]].delta
        assert delta is not None
        groups.append((delta, None if len(found) == len(rows) else found))
    return groups


def _pick(values: torch.Tensor, places: list[int] | None) -> torch.Tensor:
    return values if places is None else values[places]


def _add(values: torch.Tensor, places: list[int] | None, change: torch.Tensor) -> torch.Tensor:
    if places is None:
        return values + change
    return values.index_add(0, torch.tensor(places, device=values.device), change)
