"""SLIPSTREAM as SGLang's scheduler sees it: what a plain `CustomSpecAlgo` of SGLang 0.5.23 lacks, and our demands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sglang.srt.speculative.spec_registry import CustomSpecAlgo

if TYPE_CHECKING:
    import torch
    from sglang.srt.server_args import ServerArgs


class SlipstreamAlgorithm(CustomSpecAlgo):
    """Drafts come from the host and leave no chain in the target's KV cache, as with SGLang's NGRAM."""

    def carries_draft_hidden_states(self) -> bool:
        return False

    def need_topk(self) -> bool:
        return False

    def has_draft_kv(self) -> bool:
        return False

    def get_platform_worker_cls(self) -> type | None:
        return None

    def create_future_map(
        self,
        device: torch.device,
        req_to_token_pool: Any,
        needs_cpu_seq_lens: bool = True,
        needs_confidence_relay: bool = False,
    ) -> Any:
        from sglang.srt.managers.overlap_utils import FutureMap

        return FutureMap(device, self, req_to_token_pool, needs_cpu_seq_lens, needs_confidence_relay)


def validate_server_args(arguments: ServerArgs) -> None:
    """Raises ValueError for a combination that our worker doesn't serve correctly."""
    if not arguments.disable_overlap_schedule:
        raise ValueError("SLIPSTREAM drafts from committed tokens: disable_overlap_schedule must be set")
    if arguments.pp_size != 1 or arguments.enable_dp_attention:
        raise ValueError("SLIPSTREAM knows tensor parallelism only: no pipeline, no data-parallel attention")
    if (arguments.speculative_num_draft_tokens or 0) < 2:
        raise ValueError("SLIPSTREAM needs speculative_num_draft_tokens of at least 2: the root and one draft")
