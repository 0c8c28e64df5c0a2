"""What every section works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.bench.peers.base import Peer
from infra.bench.prompts import Collection, Workload
from infra.bench.stage import Stage

Report = Callable[[str], None]


@dataclass(slots=True)
class Context:
    stage: Stage
    out: Path  # folder of what sections leave on the disk
    tenants: Sequence[Workload]
    collections: Sequence[Collection]
    peers: Sequence[Peer] = ()
    peer_reasons: Mapping[str, str] = field(default_factory=dict)  # why a peer, or a mode of one, is missing
    deltas: dict[str, Path] = field(default_factory=dict)  # what the tenants' training brought
    quick: bool = False
