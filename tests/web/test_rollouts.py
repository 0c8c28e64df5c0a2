"""The endpoint page's deployments, its rollout with the evidence, and the buttons that steer it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from control_plane.endpoints.models import Rollout
from control_plane.tenants.models import Membership, User
from tests.web.conftest import Tenant, make_rollout
from tests.web.test_pages import signed_in

pytestmark = pytest.mark.django_db


def _page(client: Client, tenant: Tenant) -> str:
    return client.get(reverse("web:endpoint", args=[tenant.project.id, tenant.endpoint.id])).content.decode()


def _post(client: Client, tenant: Tenant, **fields: Any) -> Any:
    return client.post(reverse("web:endpoint-action", args=[tenant.project.id, tenant.endpoint.id]), fields)


def _state(rollout: Rollout) -> str:
    rollout.refresh_from_db()
    return rollout.state


def test_the_page_shows_shares_and_what_speaks_against_the_new_deployment(alice: Tenant) -> None:
    rollout = make_rollout(alice)
    shown = _page(signed_in(alice), alice)
    assert "75.0 %" in shown and "25.0 %" in shown and rollout.id in shown
    assert "Time per token" in shown and "+31.0%" in shown and "worse" in shown
    assert 'value="abort"' in shown and 'value="roll_back"' not in shown


def test_the_buttons_steer(alice: Tenant) -> None:
    rollout, client = make_rollout(alice), signed_in(alice)
    _post(client, alice, rollout="pause")
    assert _state(rollout) == "paused" and 'value="resume"' in _page(client, alice)
    _post(client, alice, rollout="resume")
    assert _state(rollout) == "shifting"
    _post(client, alice, rollout="promote")
    assert _state(rollout) == "shifting" and rollout.hurried
    _post(client, alice, rollout="abort")
    assert _state(rollout) == "aborting"


def test_without_an_open_rollout_the_page_rolls_back(alice: Tenant) -> None:
    client = signed_in(alice)
    fields = {"speculation_mode": "static", "max_lookahead": "4", "strategy": "immediate"}
    _post(client, alice, **fields, row_version=alice.endpoint.row_version)
    assert 'value="roll_back"' in _page(client, alice)
    _post(client, alice, rollout="roll_back")
    alice.endpoint.refresh_from_db()
    assert (alice.endpoint.speculation_mode, alice.endpoint.max_lookahead) == ("adaptive", 8)
    _post(client, alice, rollout="pause")
    assert "There is no open rollout." in _page(client, alice)


@pytest.mark.parametrize("fields", [{"max_lookahead": "17"}, {"min_replicas": "x"}, {"max_replicas": "９"}])
def test_settings_that_make_no_sense_change_nothing(alice: Tenant, fields: dict[str, str]) -> None:
    before = alice.endpoint.row_version
    _post(signed_in(alice), alice, speculation_mode="off", row_version=before, **fields)
    alice.endpoint.refresh_from_db()
    assert (alice.endpoint.speculation_mode, alice.endpoint.row_version) == ("adaptive", before)


def test_a_viewer_sees_the_rollout_and_no_button(alice: Tenant) -> None:
    rollout = make_rollout(alice)
    viewer = User.objects.create_user("viewer@example.com", None)
    Membership.objects.create(organization=alice.organization, user=viewer, role="viewer")
    client = Client()
    client.force_login(viewer)
    shown = _page(client, alice)
    assert rollout.id in shown and 'name="rollout"' not in shown
    assert _post(client, alice, rollout="abort").status_code == 403
    assert _state(rollout) == "observing"


def test_another_tenant_steers_nothing(alice: Tenant, bob: Tenant) -> None:
    rollout = make_rollout(alice)
    for wish in ("pause", "promote", "abort", "roll_back"):
        assert _post(signed_in(bob), alice, rollout=wish).status_code == 404
    assert _state(rollout) == "observing"
