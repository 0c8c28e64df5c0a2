"""Tensor-parallel ranks that emit the same tokens: the first one drafts and tells the others what is to be verified.

Every rank has the whole logits after SGLang's all-gather, and `verify` draws by (seed, position, purpose) without a
state. So ranks that verify the same proposals emit the same tokens, and the tokens need no broadcast. Proposals do:
the controller decides by its own clock, and swaps happen when a version is there, neither of which ranks share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dataplane.speculation.types import Proposal


class RankGroup(Protocol):
    """What we use of SGLang's `GroupCoordinator`; it sends over the host."""

    rank_in_group: int
    world_size: int

    def broadcast_object(self, obj: Any = None, src: int = 0) -> Any: ...


class Ranks:
    """One tensor-parallel rank among its like; alone, it leads."""

    def __init__(self, group: RankGroup) -> None:
        self._group = group
        self.leads = group.rank_in_group == 0

    def send(self, proposals: Sequence[Proposal]) -> None:
        """The first rank, before it verifies."""
        if self._group.world_size > 1:
            self._group.broadcast_object([(proposal.tokens, proposal.draft_probs) for proposal in proposals])

    def receive(self) -> list[Proposal]:
        """The other ranks: waits for what the first one has drafted, in the order of the batch."""
        return [Proposal(tokens, draft_probs=probs) for tokens, probs in self._group.broadcast_object()]
