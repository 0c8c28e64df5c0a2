"""TEST SHIM: a plugin that lets SGLang's `torch_native` attention verify chains on a CPU. See the README beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def register() -> None:
    """Entry point of the group `sglang.srt.plugins`."""
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    HookRegistry.register(
        "sglang.srt.layers.attention.torch_native_backend.TorchNativeAttnBackend.forward_extend",
        verify_as_extend,
        HookType.AROUND,
    )


class _Extended:
    """A verification seen as an extension: root and draft tokens follow what is committed."""

    def __init__(self, batch: Any) -> None:
        width = batch.spec_info.draft_token_num
        self._batch = batch
        self.extend_prefix_lens = batch.seq_lens
        self.extend_seq_lens = batch.seq_lens.new_full(batch.seq_lens.shape, width)
        self.seq_lens = batch.seq_lens + width

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


def verify_as_extend(
    original: Callable[..., Any], self: Any, q: Any, k: Any, v: Any, layer: Any, batch: Any, *args: Any, **options: Any
) -> Any:
    if batch.forward_mode.is_target_verify():
        batch = _Extended(batch)
    return original(self, q, k, v, layer, batch, *args, **options)
