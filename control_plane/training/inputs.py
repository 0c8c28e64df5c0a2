"""What a run learns from and what it is judged on: the newest traffic is held out, the past is learned."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.common.object_store import ObjectNotFoundError, ObjectStore
from control_plane.endpoints.models import CatalogueModel
from control_plane.speculators.models import SpeculatorVersion
from control_plane.training.config import TrainingConfig
from control_plane.training.lease import Lease, RunFailed
from control_plane.training.models import TrafficSegment, TrainingRun
from control_plane.training.segments import SegmentError, copy_records
from dataplane.contracts import TrainingSpec

logger = logging.getLogger(__name__)

# Holding out more than this share leaves too little to learn from: then the child splits the records itself.
MAX_HELDOUT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Inputs:
    """Object keys, oldest first, and the number of records in them."""

    train: tuple[str, ...] = ()
    heldout: tuple[str, ...] = ()
    records: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"train": list(self.train), "heldout": list(self.heldout), "records": self.records}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Inputs:
        return cls(tuple(data["train"]), tuple(data["heldout"]), int(data["records"]))


def choose_inputs(project_id: str, *, max_records: int, heldout_records: int) -> tuple[Inputs, int]:
    """The newest `max_records` of a project and the id of the last segment that exists now."""
    newest_first = TrafficSegment.objects.filter(project=project_id).order_by("-last_at", "-id")
    chosen: list[TrafficSegment] = []
    records = 0
    for segment in newest_first.iterator():
        chosen.append(segment)
        records += segment.records
        if records >= max_records:
            break
    last = TrafficSegment.objects.filter(project=project_id).order_by("-id").first()
    num_heldout = split(
        [segment.records for segment in chosen], heldout_records=heldout_records, max_share=MAX_HELDOUT_SHARE
    )
    heldout, train = chosen[:num_heldout], chosen[num_heldout:]
    keys = [tuple(segment.key for segment in reversed(part)) for part in (train, heldout)]
    return Inputs(keys[0], keys[1], records), last.id if last else 0


def split(records: list[int], *, heldout_records: int, max_share: float) -> int:
    """How many of the segments (their sizes, newest first) to hold out; 0 if whole segments are too coarse."""
    heldout = 0
    for index, size in enumerate(records):
        if heldout >= heldout_records:
            return index
        heldout += size
        if heldout > max_share * sum(records):
            return 0
    return 0


def materialize(
    run: TrainingRun, inputs: Inputs, lease: Lease, scratch: Path, *, store: ObjectStore, config: TrainingConfig
) -> TrainingSpec:
    """Bring everything that the child needs into the scratch folder."""
    model = run.speculator.model

    def copy(keys: tuple[str, ...], name: str) -> tuple[str, ...]:
        folder = scratch / name
        folder.mkdir()
        paths = []
        for index, key in enumerate(keys):
            lease.heartbeat(phase="preparing")
            raw, path = scratch / "download", folder / f"{index:06d}.jsonl.zst"
            try:
                store.download(key, raw)
                count = copy_records(raw, path, project_id=run.project_id, model=model.id)
            except (ObjectNotFoundError, SegmentError) as error:  # gone by retention, or damaged
                logger.warning("run %s: segment %s left out: %s", run.id, key, error)
                continue
            finally:
                raw.unlink(missing_ok=True)
            if count.dropped:
                logger.warning("run %s: %d records of %s are not this run's", run.id, count.dropped, key)
            if count.kept:
                paths.append(str(path))
        return tuple(paths)

    target = config.models_dir / model.folder
    if not target.is_dir():
        raise RunFailed("missing_model", f"The target model {model.id} is not on this worker.", permanent=True)
    return TrainingSpec(
        training_run_id=run.id,
        project_id=run.project_id,
        target_path=str(target.resolve()),
        static_path=str(static_folder(model, config).resolve()),
        train_segments=copy(inputs.train, "train"),
        heldout_segments=copy(inputs.heldout, "heldout"),
        incumbent_path=_fetch_incumbent(run.incumbent, scratch, store),
        rank=config.rank,
        max_seconds=config.max_seconds,
        max_records=config.max_records,
        heldout_records=config.heldout_records,
        threads=config.threads,
    )


def static_folder(model: CatalogueModel, config: TrainingConfig) -> Path:
    """The static drafter's checkpoint, which a delta is trained on top of; it may not exist."""
    return config.checkpoints_dir / (model.static_checkpoint or f"{model.id}-eagle3")


def _fetch_incumbent(version: SpeculatorVersion | None, scratch: Path, store: ObjectStore) -> str | None:
    if version is None:
        return None
    path = scratch / "incumbent.safetensors"
    store.download(version.artifact_key, path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != version.sha256:
        raise RunFailed("incumbent_damaged", f"The artifact of version {version.number} is damaged.", permanent=True)
    return str(path)
