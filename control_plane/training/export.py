"""A project's own traffic, handed to its owner: as stored, with the text beside the tokens, in parts."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.common.object_store import ObjectNotFoundError, ObjectStore
from control_plane.endpoints.models import CatalogueModel
from control_plane.tenants import audit
from control_plane.tenants.models import Project
from control_plane.training.end_users import segments_of
from control_plane.training.models import TrafficSegment
from control_plane.training.segments import SegmentError, lines, read_record
from control_plane.training.vocabulary import Vocabulary, read_vocabulary

# A part ends with the segment that reaches one of these.
MAX_RECORDS = 1000
MAX_SEGMENTS = 50
_FIELDS = (
    "record_id", "created_at", "endpoint_id", "model", "end_user_id", "speculator_version_id",
    "prompt_tokens", "output_tokens", "masked", "consent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrafficPart:
    """JSON Lines, and where to go on; None: that was all."""

    content: bytes
    records: int
    next_after: int | None


def export_traffic(
    project: Project,
    store: ObjectStore,
    *,
    models_dir: Path,
    after: int,
    actor: str,
    end_user_id: str = "",
    request_id: str = "",
) -> TrafficPart:
    """The records of the segments after `after`, oldest discovered first. Audited. Raises ObjectStoreError."""
    rows = segments_of(project.id, end_user_id) if end_user_id else TrafficSegment.objects.filter(project=project)
    segments = list(rows.filter(id__gt=after).order_by("id")[: MAX_SEGMENTS + 1])
    folders = dict(CatalogueModel.objects.values_list("id", "folder"))
    written: list[bytes] = []
    num_read = 0
    for segment in segments[:MAX_SEGMENTS]:
        num_read += 1
        for record in _records(segment, store):
            if record.get("project_id") != project.id or (end_user_id and record.get("end_user_id") != end_user_id):
                continue
            folder = folders.get(str(record.get("model")))
            vocabulary = read_vocabulary(models_dir / folder) if folder else None
            written.append(_line(segment, record, vocabulary))
        if len(written) >= MAX_RECORDS:
            break
    is_all = num_read == len(segments)
    audit.record(
        project.organization_id,
        actor=actor,
        action="traffic.export",
        target=project.id,
        changes={"records": len(written), "after": after, "end_user_id": end_user_id},
        request_id=request_id,
    )
    return TrafficPart(b"".join(written), len(written), None if is_all else segments[num_read - 1].id)


def _records(segment: TrafficSegment, store: ObjectStore) -> list[dict[str, Any]]:
    """What the object holds; nothing if retention or a deletion was faster, or if it is damaged."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "segment")
        try:
            store.download(segment.key, path)
            return [read_record(line) for line in lines(path)]
        except (ObjectNotFoundError, SegmentError):
            return []


def _line(segment: TrafficSegment, record: dict[str, Any], vocabulary: Vocabulary | None) -> bytes:
    shown = {"segment": segment.id} | {name: record.get(name) for name in _FIELDS}
    for name in ("prompt", "output"):
        tokens = record.get(f"{name}_tokens") or []
        shown[f"{name}_text"] = vocabulary.text(tokens) if vocabulary else None
    return json.dumps(shown, ensure_ascii=False).encode() + b"\n"
