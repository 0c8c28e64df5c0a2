"""dataplane/engines/sgl/draft_update.py: what may be sent to a replica's draft, and what must never be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dataplane.engines.sgl.draft_update import check_names, draft_payload
from dataplane.speculation.drafters.checkpoint import ArtifactError
from dataplane.speculation.drafters.delta import DELTA_MODULES
from tests.contract.engines.worlds import EAGLE
from tests.dataplane.speculation.eagle_worlds import tiny_checkpoint

STATIC = tiny_checkpoint(7, torch.bfloat16, EAGLE)


def test_only_what_a_delta_changes_is_sent() -> None:
    changed = {f"{module}.weight": STATIC.tensors[f"{module}.weight"] + 1 for module in DELTA_MODULES}
    payload = dict(draft_payload(STATIC, replace(STATIC, tensors={**STATIC.tensors, **changed})))
    assert set(payload) == set(changed)
    assert all(torch.equal(payload[name], changed[name]) for name in changed)


@pytest.mark.parametrize("name", ["fc.weight", "norm.weight", "d2t", "t2d", "midlayer.self_attn.q_proj.weight"])
def test_a_checkpoint_that_differs_elsewhere_is_no_merged_delta(name: str) -> None:
    other = STATIC.tensors[name].clone()
    other[0] = ~other[0] if other.dtype == torch.bool else other[0] + 1
    with pytest.raises(ArtifactError, match=name):
        draft_payload(STATIC, replace(STATIC, tensors={**STATIC.tensors, name: other}))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("embed_tokens.weight", "the target's"),
        ("model.embed_tokens.weight", "the target's"),
        ("d2t", "must stay"),
        ("t2d", "must stay"),
        ("midlayer.mlp.gate.weight", "in silence"),
        ("model.layers.0.mlp.up_proj.weight", "in silence"),
    ],
)
def test_names_that_sglang_would_take_wrongly_are_refused(name: str, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        check_names([name], EAGLE)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ArtifactError, match="shape"):
        draft_payload(STATIC, replace(STATIC, config=replace(EAGLE, draft_vocab_size=79)))
