"""Taking one end user's records out of stored traffic."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from control_plane.common.object_store import ObjectNotFoundError, ObjectStore
from control_plane.speculators.models import SpeculatorVersion, TrafficPolicy, VersionState
from control_plane.training.models import ErasureReceipt, TrafficSegment, TrainingRun
from control_plane.training.segments import remove_records


def segments_of(project_id: str, end_user_id: str) -> QuerySet[TrafficSegment]:
    """Segments in which there may be something of the end user's."""
    names = Q(end_users__contains=[end_user_id]) | Q(end_users__isnull=True)
    return TrafficSegment.objects.filter(names, project=project_id)


def versions_of(project_id: str, end_user_id: str) -> list[SpeculatorVersion]:
    """Versions that learned from the end user's traffic, also through the version that they began from; by number."""
    runs = TrainingRun.objects.filter(project=project_id, end_users__contains=[end_user_id])
    taught = set(runs.values_list("id", flat=True))
    found: dict[str, SpeculatorVersion] = {}
    for version in SpeculatorVersion.objects.filter(project=project_id).order_by("speculator_id", "number"):
        if version.training_run_id in taught or version.parent_id in found:  # a parent has a lower number
            found[version.id] = version
    return [version for version in found.values() if version.state != VersionState.PURGED]


def erased_end_users(policy: TrafficPolicy, *, lookback_days: int) -> dict[str, datetime]:
    """Whose traffic was deleted, and until when, as far as it may still arrive."""
    if not policy.end_user_erasures:
        return {}
    since = timezone.now() - timedelta(days=lookback_days + 1)
    rows = ErasureReceipt.objects.filter(project=policy.project_id, requested_at__gte=since).exclude(end_user_id="")
    return dict(rows.order_by("requested_at").values_list("end_user_id", "requested_at"))


def remove_end_users(segment: TrafficSegment, erased: Mapping[str, datetime], store: ObjectStore) -> int:
    """Take what the end users sent until these moments out of the object and its row; returns how many records.

    Safe to repeat. Raises ObjectStoreError, SegmentError.
    """
    if segment.end_users is not None and not set(erased) & set(segment.end_users):
        return 0

    def is_removed(record: dict[str, Any]) -> bool:
        until = erased.get(str(record.get("end_user_id")))
        return until is not None and datetime.fromisoformat(str(record.get("created_at"))) <= until

    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "source"), Path(folder, "destination")
        try:
            store.download(segment.key, source)
        except ObjectNotFoundError:
            segment.delete()  # by retention
            return 0
        rewritten = remove_records(source, destination, is_removed=is_removed)
        if not rewritten.removed:
            return 0
        if not rewritten.kept:
            store.delete(segment.key)
            segment.delete()
            return rewritten.removed
        store.upload(destination, segment.key, metadata=_metadata(segment, rewritten.kept, rewritten.tokens))
        segment.size_bytes = destination.stat().st_size
    segment.records, segment.tokens = rewritten.kept, rewritten.tokens
    segment.end_users = sorted(rewritten.end_users)
    segment.save(update_fields=["size_bytes", "records", "tokens", "end_users"])
    return rewritten.removed


def _metadata(segment: TrafficSegment, records: int, tokens: int) -> dict[str, str]:
    """As a node writes it; the end users are in the row, which is what is asked."""
    return {
        "records": str(records),
        "tokens": str(tokens),
        "first_timestamp": segment.first_at.isoformat(),
        "last_timestamp": segment.last_at.isoformat(),
        "end_users": "*",
    }
