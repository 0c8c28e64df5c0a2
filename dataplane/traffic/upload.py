"""Send what the node has collected: usage to the control plane, traffic segments to the bucket."""

from __future__ import annotations

from collections.abc import Callable

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


def send_traffic(segments: TrafficSegments, store: ObjectStore, *, consents: Callable[[str], bool]) -> int:
    """Upload every closed segment, oldest first; one of a project that no longer consents is deleted instead.

    Returns how many went. Raises ObjectStoreError.
    """
    num_sent = 0
    for segment in segments.ready():
        if segment.path.exists() and consents(segment.project_id):
            store.put(segment.key, segment.path, segment.metadata)
            num_sent += 1
        segment.remove()
    return num_sent
