"""An unmodified SGLang serves our checkpoints as EAGLE-3, and takes a tenant's merged delta while it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.speculation.drafters.delta import merge
from tests.contract.engines.worlds import REPEATED, TOKENS, World, eagle3, stock


@pytest.mark.parametrize("world", ["sglang"], indirect=True)
def test_a_tenants_delta_is_swapped_into_the_draft_of_a_replica_that_serves(
    world: World, learned: Path, target: Path, static: Path, tmp_path: Path
) -> None:
    """The delta was trained on what our own SGLang node answered; text stays, targets stay, drafts get better."""
    merge(static, learned, tmp_path / "merged")
    prompts = REPEATED[:4]
    plain, replica = stock(target, prompts, TOKENS, {}, eagle3(static), draft=tmp_path / "merged")
    assert replica["before"]["tokens"] == replica["after"]["tokens"] == plain["before"]["tokens"]
    assert replica["changed"] == {"target": False, "draft": True}
    assert max(replica["before"]["acceptance_length"]) < 1.5
    assert min(replica["after"]["acceptance_length"]) > 1.5
