"""Everything that happens periodically, in one table. Each task is idempotent and only nudges what is due."""

BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    # Moves endpoints towards their desired state and marks silent nodes as lost.
    "reconcile-fleet": {"task": "fleet.reconcile", "schedule": 2.0, "options": {"expires": 4}},
}
