from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.endpoints.models import DESIRED_STATES, ENDPOINT_TRANSITIONS
from control_plane.fleet.reconciler import Serving, next_move

SETTLED = {"running": {"ready", "degraded", "provisioning", "loading", "updating"}}


@st.composite
def servings(draw: st.DrawFn) -> Serving:
    generations = draw(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=4))
    ready = [generation for generation, is_ready in generations if is_ready]
    return Serving(
        heard=len(generations),
        ready=len(ready),
        applied=max(ready, default=None),
        lagging=min((generation for generation, _ in generations), default=None),
    )


@given(
    state=st.sampled_from(sorted(set(ENDPOINT_TRANSITIONS) - {"deleted"})),
    desired=st.sampled_from(DESIRED_STATES),
    generation=st.integers(1, 5),
    serving=servings(),
)
def test_every_move_is_legal_and_the_moves_come_to_an_end(
    state: str, desired: str, generation: int, serving: Serving
) -> None:
    if state == "deleting":
        desired = "deleted"
    seen = []
    while move := next_move(state, desired, generation, serving):
        assert move.state in ENDPOINT_TRANSITIONS[state], (state, move)
        state = move.state
        seen.append(state)
        assert len(seen) <= 6, seen
    current = serving.applied is not None and serving.applied >= generation
    if desired == "running" and current:
        assert state == "ready"
    if desired == "running" and not current:
        assert state not in ("ready", "stopped", "deleted")
    if desired != "running" and serving.lagging is None:
        assert state == {"stopped": "stopped", "deleted": "deleted"}[desired]
