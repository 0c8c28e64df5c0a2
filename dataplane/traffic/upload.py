"""Send what the node has collected: usage to the control plane, traffic segments to the bucket."""

from __future__ import annotations

from dataplane.object_store import ObjectStore
from dataplane.sync.control_plane import ControlPlane, NodeIdentity
from dataplane.traffic.segments import TrafficSegments
from dataplane.traffic.spool import UsageSpool, acknowledge_all

USAGE_BATCH = 200


def send_usage(spool: UsageSpool, control_plane: ControlPlane, identity: NodeIdentity) -> int:
    """Send every durable event that was not acknowledged, each once. Returns how many went.

    A boot with a gap can't be acknowledged beyond it; its events are sent with every round and hold up no other boot.
    Raises ControlPlaneError when a batch is not accepted, SpoolError when pending events still can't be written:
    whatever was acknowledged before stays so.
    """
    spool.flush()
    num_sent = 0
    sent: dict[str, int] = {}
    while batch := spool.unacknowledged(USAGE_BATCH, after=sent):
        acknowledge_all(spool, control_plane.send_usage(identity, batch))
        sent[batch[-1].boot_id] = batch[-1].seq
        num_sent += len(batch)
    return num_sent


def send_traffic(segments: TrafficSegments, store: ObjectStore) -> int:
    """Upload every closed segment, oldest first. Returns how many went. Raises ObjectStoreError."""
    ready = segments.ready()
    for segment in ready:
        if segment.path.exists():
            store.put(segment.key, segment.path, segment.metadata)
        segment.remove()
    return len(ready)
