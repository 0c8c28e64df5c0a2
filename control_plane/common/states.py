"""One way to change a state: lock the row, check the table, write the state and an append-only event, in one
transaction."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from django.db import models, transaction
from django.utils import timezone

from control_plane.common.errors import Conflict


class Stateful(models.Model):
    """A row with a state. Subclasses give the table and have events at `self.events` (a `StateEvent`)."""

    TRANSITIONS: ClassVar[dict[str, frozenset[str]]]

    state = models.CharField(max_length=32)
    state_code = models.CharField(max_length=64, blank=True, default="")
    state_message = models.CharField(max_length=500, blank=True, default="")
    state_changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


class StateEvent(models.Model):
    """What happened to a stateful row. Subclasses add `subject = ForeignKey(…, related_name="events")`."""

    at = models.DateTimeField(default=timezone.now)
    from_state = models.CharField(max_length=32, blank=True)
    to_state = models.CharField(max_length=32)
    code = models.CharField(max_length=64, blank=True)
    message = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=64, blank=True)

    class Meta:
        abstract = True
        ordering = ["id"]


Row = TypeVar("Row", bound=Stateful)


def state_constraint(transitions: dict[str, frozenset[str]], *, name: str) -> models.CheckConstraint:
    """CHECK that the state is one of the table's. `name` must be unique in the database."""
    return models.CheckConstraint(condition=models.Q(state__in=sorted(transitions)), name=name)


def can_move(row: Stateful, to: str) -> bool:
    return to in row.TRANSITIONS.get(row.state, frozenset())


@transaction.atomic
def transition(row: Row, to: str, *, code: str = "", message: str = "", actor: str = "system", **values: Any) -> Row:
    """Move `row` to the state `to`, set `values` beside it, and record the event. Returns the row as it now is.

    Raises Conflict (code `illegal_transition`) when the table does not allow it from the state that the locked row
    has, which may differ from the state that the caller saw.
    """
    locked: Row = type(row)._base_manager.select_for_update().get(pk=row.pk)
    if not can_move(locked, to):
        raise Conflict(
            f"A {type(row)._meta.verbose_name} that is {locked.state} can't become {to}.", code="illegal_transition"
        )
    before = locked.state
    changed = {"state": to, "state_code": code, "state_message": message[:500], "state_changed_at": timezone.now()}
    for name, value in (changed | values).items():
        setattr(locked, name, value)
        setattr(row, name, value)
    locked.save(update_fields=[*changed, *values])
    record_event(locked, before=before, code=code, message=message, actor=actor)
    return row


def record_event(row: Stateful, *, before: str, code: str = "", message: str = "", actor: str = "system") -> None:
    """Append an event by hand: the first one, or something notable that is no change of state."""
    row.events.create(  # type: ignore[attr-defined]
        from_state=before, to_state=row.state, code=code, message=message[:500], actor=actor
    )
