"""Everything that happens periodically, in one table. Each task is idempotent and only nudges what is due."""

BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    # Moves endpoints towards their desired state and marks silent nodes as lost.
    "reconcile-fleet": {"task": "fleet.reconcile", "schedule": 2.0, "options": {"expires": 4}},
    # Compares the deployments of open rollouts and shifts, completes or aborts.
    "advance-rollouts": {"task": "fleet.advance_rollouts", "schedule": 2.0, "options": {"expires": 4}},
    "purge-endpoints": {"task": "fleet.purge_endpoints", "schedule": 3600.0, "options": {"expires": 3600}},
    "forget-windows": {"task": "fleet.forget_windows", "schedule": 3600.0, "options": {"expires": 3600}},
    "forget-idempotency": {"task": "tenants.forget", "schedule": 3600.0, "options": {"expires": 3600}},
    # Finds new traffic and queues the training runs that it makes due.
    "discover-traffic": {"task": "training.discover_segments", "schedule": 5.0, "options": {"expires": 10}},
    # Re-queues runs whose worker went silent, finishes deletions.
    "sweep-training": {"task": "training.sweep", "schedule": 10.0, "options": {"expires": 20}},
    # Rolls back a version whose live acceptance fell.
    "watch-regressions": {"task": "training.watch_regressions", "schedule": 15.0, "options": {"expires": 30}},
    "enforce-retention": {"task": "training.enforce_retention", "schedule": 3600.0, "options": {"expires": 3600}},
    # Turns what happened into deliveries and makes the requests that are due.
    "dispatch-webhooks": {"task": "webhooks.dispatch", "schedule": 2.0, "options": {"expires": 4}},
    "forget-webhooks": {"task": "webhooks.forget", "schedule": 3600.0, "options": {"expires": 3600}},
}
