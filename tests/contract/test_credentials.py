"""A node's credential against the real control plane, with a failure at every step: a node that works comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.fleet.models import Node
from control_plane.fleet.registration import create_token
from dataplane.sync.control_plane import ControlPlane, ControlPlaneError, NodeIdentity, Registration
from dataplane.sync.identity import IdentityStore
from dataplane.sync.snapshot import write_atomically
from tests.control_plane.tenant import MODEL

pytestmark = pytest.mark.django_db(transaction=True)

REGISTRATION = Registration("boot-1", "node-1", "embedded", MODEL, "0" * 64, "http://127.0.0.1:8100")


class Crash(Exception):
    """The process ends here."""


class Faults:
    """Lets the n-th step fail: each write before and after it is done, each call before and after it is heard."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.num_steps = 0

    def step(self) -> None:
        self.num_steps += 1
        if self.num_steps == self.fail_at:
            raise Crash

    def write(self, path: Path, data: bytes) -> None:
        self.step()
        write_atomically(path, data)
        self.step()


class FaultyControlPlane(ControlPlane):
    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url)
        self.faults = faults

    def _call(self, *arguments: Any, **options: Any) -> httpx.Response:
        self.faults.step()
        answer = super()._call(*arguments, **options)
        self.faults.step()
        return answer


@pytest.fixture
def store(live_server: Any, tmp_path: Path) -> Iterator[Callable[..., IdentityStore]]:
    """A process's view of the node's file: each call is the next process."""
    _, token = create_token(actor="test")
    with ExitStack() as stack:

        def make(faults: Faults | None = None, rotate_seconds: float = 0.0) -> IdentityStore:
            faults = faults or Faults()
            control_plane = FaultyControlPlane(live_server.url, faults)
            stack.callback(control_plane.close)
            return IdentityStore(
                tmp_path / "identity.json",
                control_plane,
                REGISTRATION,
                token=lambda: token,
                rotate_seconds=rotate_seconds,
                write=faults.write,
            )

        yield make


def _works(store: IdentityStore) -> bool:
    """As the agent does it: a refused credential is told to the store, and the next poll uses what follows."""
    for _ in range(2):
        identity = store.get()
        try:
            return store._control_plane.snapshot(identity, None) is not None
        except ControlPlaneError as error:
            assert error.status == 401
            store.refused(identity)
    return False


# Two writes and a call, each failing before and after it is done.
STEPS = range(1, 7)


@pytest.mark.parametrize("fail_at", STEPS)
def test_a_registration_that_fails_anywhere_is_finished_by_the_next_process(store: Any, fail_at: int) -> None:
    with pytest.raises(Crash):
        store(Faults(fail_at)).get()
    assert _works(store())
    assert Node.objects.count() == 1


@pytest.mark.parametrize("overlap_is_over", [False, True])
@pytest.mark.parametrize("fail_at", STEPS)
def test_a_change_that_fails_anywhere_leaves_a_credential_that_works(
    store: Any, fail_at: int, overlap_is_over: bool
) -> None:
    first = store().get()
    with pytest.raises(Crash):
        store(Faults(fail_at)).rotate()
    if overlap_is_over:
        Node.objects.update(previous_credential_until=None)
    assert _works(store())
    store().rotate()
    assert _works(store())
    assert store().get().node_id == first.node_id
    assert store().get().credential != first.credential


def test_all_steps_are_met(store: Any) -> None:
    registering, changing = Faults(), Faults()
    store(registering).get()
    store(changing).rotate()
    assert registering.num_steps == changing.num_steps == len(STEPS)


def test_a_change_is_finished_after_a_restart_even_if_it_is_not_due(store: Any) -> None:
    before = store().get()
    with pytest.raises(Crash):
        store(Faults(4)).rotate()  # told, and the answer lost
    later = store(rotate_seconds=1e9)
    later.rotate()
    assert later.get().credential != before.credential
    assert _works(later)


def test_a_young_credential_is_left_alone(store: Any) -> None:
    before = store().get()
    young = store(rotate_seconds=1e9)
    young.rotate()
    assert young.get() == before


def test_a_refused_credential_without_a_token_stays_what_it_is(live_server: Any, tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text('{"node_id": "node_1", "credential": "c"}')
    control_plane = ControlPlane(live_server.url)
    store = IdentityStore(tmp_path / "identity.json", control_plane, REGISTRATION, token=lambda: "")
    control_plane.close()
    store.refused(NodeIdentity("node_1", "c"))
    assert store.known == NodeIdentity("node_1", "c")
