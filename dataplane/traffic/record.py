"""Which requests are logged for training: the policy, its sample rate and the request's own `store` decide."""

from __future__ import annotations

import hashlib

from dataplane.contracts import TrafficPolicy


def is_captured(policy: TrafficPolicy, *, store: bool, request_id: str) -> bool:
    """May this request's content be kept? The sample is a hash of the request id: repeatable, and nobody's choice."""
    return policy.capture and store and hash_share(request_id, "traffic") < policy.sample_rate


def hash_share(request_id: str, purpose: str) -> float:
    """A uniform number in [0, 1) that depends on the request and the purpose alone."""
    digest = hashlib.sha256(f"{purpose}:{request_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / (1 << 64)
