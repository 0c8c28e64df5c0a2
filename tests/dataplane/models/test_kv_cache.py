"""dataplane/models/kv_cache.py: slots are never lost, doubled or shared."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.models.kv_cache import KvCache, KvCacheError


def new_cache(num_slots: int = 4, max_context: int = 100) -> KvCache:
    return KvCache(
        num_layers=2, num_kv_heads=1, head_dim=2, num_slots=num_slots, max_context=max_context,
        dtype=torch.float32, device=torch.device("cpu"),
    )  # fmt: skip


class Slots(RuleBasedStateMachine):
    """Sequences come, grow and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = new_cache()
        self.lengths: dict[int, int] = {}

    @precondition(lambda self: len(self.lengths) < 4)
    @rule()
    def allocate(self) -> None:
        slot = self.cache.allocate()
        assert slot not in self.lengths
        self.lengths[slot] = 0

    @precondition(lambda self: len(self.lengths) == 4)
    @rule()
    def allocate_too_many(self) -> None:
        with pytest.raises(KvCacheError):
            self.cache.allocate()

    @precondition(lambda self: self.lengths)
    @rule(data=st.data(), length=st.integers(0, 120))
    def commit(self, data: st.DataObject, length: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.lengths)))
        if self.lengths[slot] <= length <= 100:
            self.cache.commit(slot, length)
            self.lengths[slot] = length
        else:
            with pytest.raises(KvCacheError):
                self.cache.commit(slot, length)

    @precondition(lambda self: self.lengths)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.lengths)))
        self.cache.free(slot)
        del self.lengths[slot]
        with pytest.raises(KvCacheError):
            self.cache.free(slot)

    @invariant()
    def bookkeeping_agrees(self) -> None:
        self.cache.check_integrity(set(self.lengths))
        assert self.cache.num_used_tokens == sum(self.lengths.values())
        assert self.cache.num_free == 4 - len(self.lengths)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, derandomize=True)


def test_a_lost_sequence_is_noticed() -> None:
    cache = new_cache()
    cache.allocate()
    with pytest.raises(KvCacheError, match="slots in use"):
        cache.check_integrity(set())


def test_what_is_read_can_be_written_to_another_slot() -> None:
    cache = new_cache()
    for layer in cache.layers:
        layer.normal_(generator=torch.Generator().manual_seed(0))
    first, second = cache.allocate(), cache.allocate()
    block = cache.read(first, 3, 9)
    cache.write(second, 3, block)
    assert torch.equal(cache.read(second, 3, 9), block)
    assert not torch.equal(cache.read(second, 0, 3), cache.read(first, 0, 3))
