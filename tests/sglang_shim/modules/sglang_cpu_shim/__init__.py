"""TEST SHIM: a plugin that lets SGLang's `torch_native` attention verify and draft chains. See the README beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def register() -> None:
    """Entry point of the group `sglang.srt.plugins`."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    attention = "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend"
    factory = "sglang.srt.speculative.draft_utils.DraftBackendFactory"
    HookRegistry.register(f"{attention}.forward_extend", verify_as_extend, HookType.AROUND)
    HookRegistry.register(f"{factory}.create_decode_backend", draft_chains, HookType.AROUND)
    HookRegistry.register(f"{factory}.create_draft_extend_backend", extend_drafts, HookType.AROUND)


def register_large_target() -> None:
    """A second one: a draft costs more than a forward of a tiny target, and this keeps the controller's first table."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(
        "dataplane.speculation.latency.LatencyTable.observe", lambda table, **measured: None, HookType.REPLACE
    )


class _View:
    """A batch of SGLang's, some of whose attributes are others."""

    def __init__(self, batch: Any, **others: Any) -> None:
        self.__dict__.update(others, _batch=batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


def verify_as_extend(
    original: Callable[..., Any], self: Any, q: Any, k: Any, v: Any, layer: Any, batch: Any, *args: Any, **options: Any
) -> Any:
    """A verification seen as an extension: root and draft tokens follow what is committed."""
    if batch.forward_mode.is_target_verify():
        width = batch.spec_info.draft_token_num
        batch = _View(
            batch,
            extend_prefix_lens=batch.seq_lens,
            extend_seq_lens=batch.seq_lens.new_full(batch.seq_lens.shape, width),
            seq_lens=batch.seq_lens + width,
        )
    return original(self, q, k, v, layer, batch, *args, **options)


class ChainDrafts:
    """What SGLang's EAGLE worker asks of a draft's attention: one backend for each drafting step but the last.

    The draft of step i sees what is committed and i + 1 tokens of its own chain, which lie behind it.
    """

    def __init__(self, runner: Any, num_steps: int) -> None:
        from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

        class Step(TorchNativeAttnBackend):  # type: ignore[misc]
            def __init__(self, step: int) -> None:
                super().__init__(runner)
                self._num_drafted = step + 1

            def forward_decode(self, q: Any, k: Any, v: Any, layer: Any, batch: Any, *args: Any, **options: Any) -> Any:
                batch = _View(batch, seq_lens=batch.seq_lens + self._num_drafted)
                return super().forward_decode(q, k, v, layer, batch, *args, **options)

        self.attn_backends = [Step(step) for step in range(num_steps - 1)]

    def init_forward_metadata(self, batch: Any) -> None:
        for backend in self.attn_backends:
            backend.init_forward_metadata(batch)


def draft_chains(original: Callable[..., Any], self: Any) -> Any:
    """Of `torch_native`, which SGLang has no draft backend for."""
    if not _is_torch_native():
        return original(self)
    if self.topk != 1:
        raise RuntimeError("the test shim knows chains only (speculative_eagle_topk 1)")
    return ChainDrafts(self.draft_model_runner, self.speculative_num_steps) if self.speculative_num_steps > 1 else None


def extend_drafts(original: Callable[..., Any], self: Any) -> Any:
    """After a verification the draft reads what was scored, as an ordinary extension."""
    if not _is_torch_native():
        return original(self)
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

    return TorchNativeAttnBackend(self.draft_model_runner)


def _is_torch_native() -> bool:
    from sglang.srt.runtime_context import attention_backends

    return set(attention_backends()) == {"torch_native"}
