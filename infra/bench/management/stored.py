"""What nodes have uploaded: the objects of a project's segments, so that an export has something to read."""

from __future__ import annotations

from datetime import UTC, datetime


def store_traffic(project_id: str) -> None:
    """One object for each of the project's segments, with as many records as its row says."""
    import zstandard

    from control_plane.common.object_store import object_store
    from control_plane.endpoints.models import Endpoint
    from control_plane.training.models import TrafficSegment
    from dataplane.contracts import TrafficRecord, canonical_json

    store, endpoint = object_store(), Endpoint.objects.filter(project=project_id).order_by("id")[0]
    for segment in TrafficSegment.objects.filter(project=project_id):
        tokens = tuple(range(segment.tokens // segment.records // 2))
        records = [
            TrafficRecord(
                record_id=f"req_{segment.id}_{number}",
                project_id=project_id,
                endpoint_id=endpoint.id,
                model=endpoint.model_id,
                created_at=datetime.now(UTC).isoformat(),
                prompt_tokens=tokens,
                output_tokens=tokens,
            )
            for number in range(segment.records)
        ]
        lines = b"".join(canonical_json(record) + b"\n" for record in records)
        store.put(segment.key, zstandard.ZstdCompressor().compress(lines))
