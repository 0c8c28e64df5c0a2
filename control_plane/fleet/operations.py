"""What operators want of nodes. They write `desired`; placement and the nodes themselves do the rest."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from control_plane.common.errors import Conflict
from control_plane.common.states import record_event, transition
from control_plane.fleet.models import Node, OperatorEvent
from control_plane.tenants.placements import move

_ACTIONS = {"serving": "node.uncordon", "cordoned": "node.cordon", "drained": "node.drain"}
# What shows at once; the node's next report says the rest.
_SHOWN = {"serving": {"cordoned": "ready"}, "cordoned": {"ready": "cordoned"}, "drained": {}}


@transaction.atomic
def set_desired(node: Node, desired: str, *, actor: str, request_id: str = "") -> Node:
    """`serving`, `cordoned` (keeps what it has, takes nothing new) or `drained` (gives everything away, then stops).

    Raises Conflict for a lost node, which hears nothing.
    """
    locked = Node.objects.select_for_update().get(pk=node.pk)
    if locked.desired == desired:
        return locked
    if locked.state == "lost":
        raise Conflict("The node is lost: its projects are placed elsewhere already.", code="node_lost")
    before, locked.desired = locked.desired, desired
    locked.save(update_fields=["desired"])
    record_event(locked, before=locked.state, code=_ACTIONS[desired].partition(".")[2], actor=actor)
    if shown := _SHOWN[desired].get(locked.state):
        transition(locked, shown, code="requested", actor=actor)
    move(touch=[locked.id])
    changes = {"desired": [before, desired]}
    audit(actor=actor, action=_ACTIONS[desired], target=locked.id, changes=changes, request_id=request_id)
    return locked


def audit(*, actor: str, action: str, target: str, changes: dict[str, Any] | None = None, request_id: str = "") -> None:
    """Append to the operators' record, in the transaction of the change. Secrets never belong in it."""
    OperatorEvent.objects.create(
        actor=actor, action=action, target=target, changes=changes or {}, request_id=request_id
    )
