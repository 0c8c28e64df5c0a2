"""A tenant's delta on a dedicated replica: an unmodified SGLang with EAGLE-3, whose draft is updated while it serves.

    delta + static checkpoint -> `delta.merge` -> full checkpoint -> `draft_payload` -> `swap_draft`

SGLang applies an update to the target unless it is told otherwise, aliases the draft's embedding table to the target's,
keeps the old vocabulary map in captured graphs, and drops names that it doesn't know in silence. So only what a delta
changes is ever sent, and everything is refused that is not the draft's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from dataplane.speculation.drafters.checkpoint import ArtifactError, EagleCheckpoint, EagleConfig
from dataplane.speculation.drafters.delta import DELTA_MODULES

FIXED = ("d2t", "t2d")  # one vocabulary map per target, for all tenants


class DraftUpdateError(RuntimeError):
    """SGLang refused a step of the update. It goes on with the draft that it had."""


def check_names(names: Iterable[str], config: EagleConfig) -> None:
    """Raises ArtifactError for a tensor that is the target's, that must not change, or that SGLang doesn't know."""
    for name in names:
        if "embed_tokens" in name:
            raise ArtifactError(f"{name} is the target's: an update of it would change what the target says")
        if name in FIXED:
            raise ArtifactError(f"{name} must stay: captured graphs hold the old one")
        if name not in config.shapes():
            raise ArtifactError(f"{name} is no tensor of this draft: SGLang would drop it in silence")


def draft_payload(static: EagleCheckpoint, merged: EagleCheckpoint) -> list[tuple[str, torch.Tensor]]:
    """What turns a replica's static draft into the merged one. Raises ArtifactError if they don't belong together."""
    if merged.config != static.config:
        raise ArtifactError("the merged checkpoint has another shape than the static one")
    for name in static.config.shapes():
        if f"{name.removesuffix('.weight')}" not in DELTA_MODULES and not torch.equal(
            static.tensors[name], merged.tensors[name]
        ):
            raise ArtifactError(f"{name} differs, and a delta never changes it")
    payload = [(f"{module}.weight", merged.tensors[f"{module}.weight"]) for module in DELTA_MODULES]
    check_names((name for name, _ in payload), static.config)
    return payload


async def swap_draft(manager: Any, serialized: list[bytes]) -> None:
    """Update the draft, and only the draft, of a running SGLang; requests wait and go on. Raises DraftUpdateError.

    `manager`: SGLang's `TokenizerManager`. `serialized`: a payload, once per tensor-parallel rank.
    """
    from sglang.srt.managers.io_struct import (
        BeginWeightUpdateReqInput,
        ContinueGenerationReqInput,
        EndWeightUpdateReqInput,
        PauseGenerationReqInput,
        UpdateWeightsFromTensorReqInput,
    )

    await manager.pause_generation(PauseGenerationReqInput(mode="in_place"))
    try:
        _expect(await manager.begin_weight_update(BeginWeightUpdateReqInput(selector="draft")), "begin")
        try:
            update = UpdateWeightsFromTensorReqInput(
                serialized_named_tensors=serialized, selector="draft", flush_cache=False
            )
            _expect(await manager.update_weights_from_tensor(update), "update")
        finally:
            _expect(await manager.end_weight_update(EndWeightUpdateReqInput()), "end")
    finally:
        await manager.continue_generation(ContinueGenerationReqInput())


def _expect(answer: tuple[bool, str], step: str) -> None:
    success, message = answer
    if not success:
        raise DraftUpdateError(f"{step}: {message}")
