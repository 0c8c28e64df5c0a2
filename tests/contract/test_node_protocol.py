"""The node's own client against the real control plane, over HTTP: both sides of the contract in one room."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.billing.models import UsageEvent
from control_plane.endpoints.models import Endpoint, SpeculationWindow
from control_plane.fleet.registration import create_token
from dataplane import contracts
from dataplane.sync.control_plane import ControlPlane, ControlPlaneError, NodeIdentity, Registration
from tests.control_plane.node import sequenced, usage_event
from tests.control_plane.tenant import MODEL, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def control_plane(live_server: Any) -> Iterator[ControlPlane]:
    client = ControlPlane(live_server.url)
    yield client
    client.close()


def _register(control_plane: ControlPlane, token: str | None = None) -> NodeIdentity:
    return control_plane.register(
        Registration(
            boot_id="boot-1",
            name="node-1",
            engine="embedded",
            model=MODEL,
            model_sha256="0" * 64,
            address="http://127.0.0.1:8100",
        ),
        token=token or create_token(actor="test")[1],
        credential=secrets.token_urlsafe(32),
    )


def test_a_node_registers_applies_serves_and_reports(control_plane: ControlPlane) -> None:
    alice = make_tenant("alice")
    identity = _register(control_plane)
    snapshot = control_plane.snapshot(identity, None)
    assert snapshot is not None
    assert [endpoint.endpoint_id for endpoint in snapshot.endpoints] == [alice.endpoint.id]
    assert control_plane.snapshot(identity, snapshot.generation) is None

    batch = sequenced([usage_event(alice, number) for number in range(3)])
    assert control_plane.send_usage(identity, batch) == {"boot-1": 3}
    assert control_plane.send_usage(identity, batch[1:]) == {"boot-1": 3}
    assert UsageEvent.objects.filter(organization=alice.organization).count() == 3

    window = contracts.SpeculationWindow(
        endpoint_id=alice.endpoint.id,
        arm="adaptive",
        speculator_version_id=None,
        started_at="2026-01-01T00:00:00.5Z",
        ended_at="2026-01-01T00:00:05.5Z",
        requests=1,
        completion_tokens=10,
        decode_seconds=0.5,
        steps=5,
        drafted=10,
        accepted=5,
    )
    status = contracts.NodeStatus(
        node_id=identity.node_id,
        boot_id="boot-1",
        state="ready",
        applied_generation=snapshot.generation,
        engine="embedded",
        model=MODEL,
        model_sha256="0" * 64,
        reported_at="2026-01-01T00:00:06Z",
        windows=(window,),
    )
    control_plane.send_status(identity, status)
    control_plane.send_status(identity, status)
    assert Endpoint.objects.filter(project=alice.project).get().state == "ready"
    assert SpeculationWindow.objects.filter(endpoint=alice.endpoint).count() == 1


def test_a_refused_token_or_credential_is_permanent(control_plane: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError) as refused:
        _register(control_plane, token="wrong")
    assert (refused.value.permanent, refused.value.status) == (True, 403)
    with pytest.raises(ControlPlaneError) as unknown:
        control_plane.snapshot(NodeIdentity("node_" + "0" * 26, "wrong"), None)
    assert (unknown.value.permanent, unknown.value.status) == (True, 401)
