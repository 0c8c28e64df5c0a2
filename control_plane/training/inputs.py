"""What a run learns from and what it is judged on: the newest traffic is held out, the past is learned."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Q

from control_plane.common.object_store import ObjectNotFoundError, ObjectStore
from control_plane.endpoints.models import CatalogueModel
from control_plane.speculators.models import SpeculatorVersion
from control_plane.training.config import TrainingConfig
from control_plane.training.lease import Lease, RunFailed
from control_plane.training.models import TrafficSegment, TrainingRun
from control_plane.training.segments import CopyCount, SegmentError, copy_records
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


@dataclass(frozen=True, slots=True)
class Materialized:
    """What the child is given, and what is known of it: the version's lineage, and whose traffic it was."""

    spec: TrainingSpec
    lineage: dict[str, Any]
    end_users: list[str]


def choose_inputs(
    project_id: str, *, max_records: int, heldout_records: int, redacted: bool = True
) -> tuple[Inputs, int]:
    """The newest `max_records` of a project and the id of the last segment that exists now.

    redacted: the policy asks for it now, so what was captured while it did not is left out.
    """
    newest_first = TrafficSegment.objects.filter(project=project_id).order_by("-last_at", "-id")
    if redacted:
        newest_first = newest_first.filter(Q(consent__redaction__isnull=True) | ~Q(consent__redaction="off"))
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
) -> Materialized:
    """Bring everything that the child needs into the scratch folder."""
    model = run.speculator.model
    total, digest, num_segments = CopyCount(), hashlib.sha256(), 0

    def copy(keys: tuple[str, ...], name: str) -> tuple[str, ...]:
        nonlocal num_segments
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
                num_segments += 1
                digest.update(f"{name} {key} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
                total.kept += count.kept
                total.consents += count.consents
                total.end_users |= count.end_users
        return tuple(paths)

    target = config.models_dir / model.folder
    if not target.is_dir():
        raise RunFailed("missing_model", f"The target model {model.id} is not on this worker.", permanent=True)
    spec = TrainingSpec(
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
    captured = [{"policy": json.loads(policy), "records": count} for policy, count in sorted(total.consents.items())]
    lineage = {
        "input_sha256": digest.hexdigest(),  # over "train|heldout", key and digest of each segment, in order
        "segments": num_segments,
        "records": total.kept,
        "end_users": len(total.end_users),
        "captured_under": captured,
        "redaction": sorted({str(item["policy"].get("redaction", "drop")) for item in captured}),
    }
    return Materialized(spec, lineage, sorted(total.end_users))


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
