"""Every page: its owner sees it, another tenant gets the same 404 as for nothing, nobody gets in unsigned."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse
from django.utils import timezone

from control_plane.endpoints import services as endpoints
from control_plane.endpoints.models import CatalogueModel
from control_plane.speculators import selectors as speculators
from control_plane.tenants.models import ApiKey, Membership, User
from control_plane.training.models import LEASED, RunState
from tests.web.conftest import PASSWORD, Tenant
from web import urls
from web.series import points

pytestmark = pytest.mark.django_db

PAGES: dict[str, Callable[[Tenant], list[str]]] = {
    "overview": lambda t: [t.project.id],
    "endpoints": lambda t: [t.project.id],
    "endpoint": lambda t: [t.project.id, t.endpoint.id],
    "endpoint-series": lambda t: [t.project.id, t.endpoint.id],
    "speculators": lambda t: [t.project.id],
    "speculator": lambda t: [t.project.id, t.speculator.id],
    "runs": lambda t: [t.project.id],
    "run": lambda t: [t.project.id, t.run.id],
    "keys": lambda t: [t.project.id],
    "usage": lambda t: [t.project.id],
    "data-policy": lambda t: [t.project.id],
    "statement": lambda t: [t.organization.id],
    "members": lambda t: [t.organization.id],
    "audit": lambda t: [t.organization.id],
    "webhooks": lambda t: [t.organization.id],
    "webhook": lambda t: [t.organization.id, t.webhook.id],
}
ACTIONS: dict[str, Callable[[Tenant], list[str]]] = {
    "endpoint-action": lambda t: [t.project.id, t.endpoint.id],
    "speculator-action": lambda t: [t.project.id, t.speculator.id],
}
WITHOUT_A_TENANT = {"home", "start", "account", "switch", "nodes", "invitation", "join"}


def signed_in(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(tenant.user)
    return client


def just_signed_in(tenant: Tenant) -> Client:
    """Through the form: the session has proved who it is."""
    tenant.user.set_password(PASSWORD)
    tenant.user.save()
    client = Client()
    assert client.post("/sign-in", {"login": tenant.user.email, "password": PASSWORD}).status_code == 302
    return client


def let_sudo_run_out(client: Client) -> None:
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()


def test_every_path_of_the_dashboard_has_a_case_here() -> None:
    names = {pattern.name for pattern in urls.urlpatterns if isinstance(pattern, URLPattern)}
    assert names == PAGES.keys() | ACTIONS.keys() | WITHOUT_A_TENANT


@pytest.mark.parametrize("name", PAGES)
def test_the_owner_sees_the_page(name: str, alice: Tenant) -> None:
    assert signed_in(alice).get(reverse(f"web:{name}", args=PAGES[name](alice))).status_code == 200


@pytest.mark.parametrize("state", RunState)
def test_a_run_has_a_page_before_it_has_a_report(state: RunState, alice: Tenant) -> None:
    alice.run.state, alice.run.report, alice.run.gate = state, None, None
    alice.run.loss_series = [[0.0, 2.0], [1.0, 1.5]]
    leased = state in LEASED
    alice.run.lease_token, alice.run.lease_expires_at = (uuid4(), timezone.now()) if leased else (None, None)
    alice.run.save()
    answer = signed_in(alice).get(reverse("web:run", args=PAGES["run"](alice)))
    assert answer.status_code == 200
    assert b"Learned from</dt><dd>\xe2\x80\x93 requests" in answer.content
    assert b"line-path" in answer.content  # the loss as it falls


ACCOUNT = ["account_email", "account_change_password", "usersessions_list", "mfa_index", "account_reauthenticate"]


@pytest.mark.parametrize("name", ACCOUNT)
def test_everybody_has_the_pages_of_an_account(name: str, alice: Tenant) -> None:
    assert just_signed_in(alice).get(reverse(name)).status_code == 200


@pytest.mark.parametrize("name", PAGES)
def test_another_tenant_gets_a_404_without_a_trace_of_the_content(name: str, alice: Tenant, bob: Tenant) -> None:
    response = signed_in(bob).get(reverse(f"web:{name}", args=PAGES[name](alice)))
    assert response.status_code == 404
    assert b"alice" not in response.content


@pytest.mark.parametrize("name", ["endpoint", "endpoint-series", "speculator", "run"])
def test_an_object_of_another_tenant_under_ones_own_project_is_a_404(name: str, alice: Tenant, bob: Tenant) -> None:
    path = reverse(f"web:{name}", args=[bob.project.id, PAGES[name](alice)[1]])
    assert signed_in(bob).get(path).status_code == 404


@pytest.mark.parametrize("name", ACTIONS)
def test_another_tenants_actions_do_nothing(name: str, alice: Tenant, bob: Tenant) -> None:
    client = signed_in(bob)
    for ids in (ACTIONS[name](alice), [bob.project.id, ACTIONS[name](alice)[1]]):
        posted = {"desired_state": "stopped", "action": "rollback"}
        assert client.post(reverse(f"web:{name}", args=ids), posted).status_code == 404
    alice.endpoint.refresh_from_db()
    alice.version.refresh_from_db()
    assert (alice.endpoint.desired_state, alice.version.state) == ("running", "active")


@pytest.mark.parametrize("name", PAGES)
def test_nobody_gets_in_unsigned(name: str, alice: Tenant) -> None:
    response = Client().get(reverse(f"web:{name}", args=PAGES[name](alice)))
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/sign-in")


def test_pages_forbid_inline_scripts_and_foreign_content(alice: Tenant) -> None:
    response = signed_in(alice).get(reverse("web:endpoint", args=PAGES["endpoint"](alice)))
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert b"<script>" not in response.content and b" style=" not in response.content


def test_a_viewer_sees_and_may_not_write(alice: Tenant) -> None:
    viewer = User.objects.create_user("viewer@example.com", None)
    Membership.objects.create(organization=alice.organization, user=viewer, role="viewer")
    client = Client()
    client.force_login(viewer)
    page = reverse("web:keys", args=[alice.project.id])
    assert client.get(page).status_code == 200
    assert client.post(page, {"action": "create", "name": "mine"}).status_code == 403
    assert ApiKey.objects.filter(project=alice.project).count() == 1
    assert client.get(reverse("web:audit", args=[alice.organization.id])).status_code == 403


def test_nodes_are_for_operators_only(alice: Tenant) -> None:
    assert signed_in(alice).get(reverse("web:nodes")).status_code == 403
    alice.user.is_staff = True
    alice.user.save()
    assert signed_in(alice).get(reverse("web:nodes")).status_code == 200


def test_a_key_is_shown_once(alice: Tenant) -> None:
    client = signed_in(alice)
    page = reverse("web:keys", args=[alice.project.id])
    first = client.post(page, {"action": "create", "name": "laptop", "scopes": ["inference:write"]})
    assert b"sls_live_" in first.content and b"only time" in first.content
    assert b"only time" not in client.get(page).content


def test_a_key_is_made_for_what_the_form_says_and_the_list_shows_it(alice: Tenant) -> None:
    client = signed_in(alice)
    page = reverse("web:keys", args=[alice.project.id])
    form = {
        "action": "create",
        "name": "build server",
        "scopes": ["inference:write"],
        "endpoints": [alice.endpoint.name],
        "allowed_ips": "192.0.2.7, 2001:db8::/32",
        "expires_at": "2099-12-31T10:30",
    }
    assert client.post(page, form).status_code == 200
    key = ApiKey.objects.get(project=alice.project, name="build server")
    assert (key.scopes, key.endpoints) == (["inference:write"], [alice.endpoint.name])
    assert key.allowed_ips == ["192.0.2.7/32", "2001:db8::/32"]
    assert key.expires_at == datetime(2099, 12, 31, 10, 30, tzinfo=UTC)
    shown = client.get(page).content.decode()
    assert all(f">{network}<" in shown for network in key.allowed_ips) and "2099-12-31 10:30:00 UTC" in shown
    assert "everywhere" in shown and "never" in shown  # the key before


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "  ", "blank"),
        ("name", "n" * 121, "120 characters"),
        ("scopes", [], "Choose one at least."),
        ("scopes", ["inference:write", "root"], "root: "),
        ("endpoints", ["e" * 64], "63 characters"),
        ("allowed_ips", "192.0.2.0/24, office", "office: This must be an IP address"),
        ("allowed_ips", "192.0.2.1/24", "192.0.2.1/24: "),
        ("expires_at", "tomorrow", "wrong format"),
        ("expires_at", "2020-01-01T00:00", "in the past"),
    ],
)
def test_a_bad_field_of_a_key_is_said_at_the_field_and_the_rest_stays(
    alice: Tenant, field: str, value: str | list[str], said: str
) -> None:
    page = reverse("web:keys", args=[alice.project.id])
    good = {"name": "laptop", "scopes": ["inference:read"], "allowed_ips": "203.0.113.9"}
    answer = signed_in(alice).post(page, {"action": "create", **good, field: value})
    shown = answer.content.decode()
    assert answer.status_code == 400
    assert re.findall(r'class="error" id="(\w+)-error"', shown) == [field]
    assert said in re.search(rf'id="{field}-error">([^<]*)<', shown)[1].replace("&quot;", '"')  # type: ignore[index]
    assert field == "allowed_ips" or 'value="203.0.113.9"' in shown
    assert not ApiKey.objects.filter(project=alice.project, name="laptop").exists()


def test_consent_is_changed_and_bad_numbers_are_refused(alice: Tenant) -> None:
    client = signed_in(alice)
    page = reverse("web:data-policy", args=[alice.project.id])
    assert client.post(page, {"action": "save", "sample_rate": "2", "retention_days": "30"}).status_code == 400
    assert speculators.traffic_policy_of(alice.project).capture
    assert client.post(page, {"action": "save", "sample_rate": "0.5", "retention_days": "7"}).status_code == 302
    policy = speculators.traffic_policy_of(alice.project)
    assert (policy.capture, policy.sample_rate, policy.retention_days) == (False, 0.5, 7)


def test_what_is_done_with_content_is_chosen_on_the_page_and_deleted_for_one_person_only_by_name(alice: Tenant) -> None:
    client = just_signed_in(alice)
    page = reverse("web:data-policy", args=[alice.project.id])
    chosen = {"redaction": "mask", "memory_scope": "end_user", "stream_coalescing": "interval"}
    numbers = {"sample_rate": "1", "retention_days": "7", "coalesce_tokens": "8", "coalesce_milliseconds": "50"}
    form = {"action": "save", "capture": "on", **chosen, **numbers}
    assert client.post(page, form | {"redaction": "shred"}).status_code == 400
    assert client.post(page, form | {"coalesce_tokens": "1"}).status_code == 400
    assert client.post(page, form).status_code == 302
    policy = alice.project.traffic_policy
    policy.refresh_from_db()
    assert {name: getattr(policy, name) for name in chosen} == chosen
    assert (policy.coalesce_tokens, policy.coalesce_milliseconds) == (8, 50)
    shown = client.get(page).content.decode()
    assert all(f'<option value="{value}" selected>' in shown for value in chosen.values())

    assert client.post(page, {"action": "delete-end-user", "end_user": ""}).status_code == 400
    assert not alice.project.erasure_receipts.exists()  # nobody named is not everybody
    assert client.post(page, {"action": "delete-end-user", "end_user": "jane@example.com"}).status_code == 302
    receipt = alice.project.erasure_receipts.get()
    assert receipt.end_user_id.startswith("eu_") and receipt.end_user_id in client.get(page).content.decode()
    assert "jane@example.com" not in client.get(page).content.decode()


@pytest.mark.parametrize("form", [{"action": "delete"}, {"action": "delete-end-user", "end_user": "jane"}])
def test_traffic_is_deleted_after_the_password_only(alice: Tenant, form: dict[str, str]) -> None:
    client = just_signed_in(alice)
    let_sudo_run_out(client)
    page = reverse("web:data-policy", args=[alice.project.id])
    asked = client.post(page, form)
    assert (asked.status_code, asked.headers["Location"].split("?")[0]) == (302, "/account/confirm")
    assert not alice.project.erasure_receipts.exists()
    # The form that was interrupted is sent again by itself.
    assert client.post(asked.headers["Location"], {"password": "wrong"}).status_code == 200
    assert not alice.project.erasure_receipts.exists()
    client.post(asked.headers["Location"], {"password": PASSWORD}, follow=True)
    assert alice.project.erasure_receipts.exists()


def test_an_endpoint_is_deleted_after_the_password_and_brought_back(alice: Tenant) -> None:
    client = just_signed_in(alice)
    let_sudo_run_out(client)
    action = reverse("web:endpoint-action", args=[alice.project.id, alice.endpoint.id])
    index = reverse("web:endpoints", args=[alice.project.id])
    asked = client.post(action, {"desired_state": "deleted"})
    alice.endpoint.refresh_from_db()
    assert asked.headers["Location"].startswith("/account/confirm") and alice.endpoint.desired_state == "running"
    client.post(asked.headers["Location"], {"password": PASSWORD}, follow=True)
    alice.endpoint.refresh_from_db()
    assert alice.endpoint.desired_state == "deleted"
    assert f'Bring back<span class="hidden-label"> {alice.endpoint.name}' in client.get(index).content.decode()
    client.post(index, {"undelete": alice.endpoint.id})
    alice.endpoint.refresh_from_db()
    assert alice.endpoint.desired_state == "running"
    assert "Bring back" not in client.get(index).content.decode()


def test_a_deleted_endpoint_of_another_project_is_not_brought_back_here(alice: Tenant, bob: Tenant) -> None:
    endpoints.set_desired_state(alice.endpoint, "deleted", actor=alice.user.id)
    index = reverse("web:endpoints", args=[bob.project.id])
    assert signed_in(bob).post(index, {"undelete": alice.endpoint.id}).status_code == 404
    alice.endpoint.refresh_from_db()
    assert alice.endpoint.desired_state == "deleted"


def test_a_stale_form_does_not_overwrite_a_newer_change(alice: Tenant) -> None:
    client = signed_in(alice)
    page = reverse("web:endpoint-action", args=[alice.project.id, alice.endpoint.id])
    form = {"speculation_mode": "static", "max_lookahead": "4", "row_version": alice.endpoint.row_version}
    client.post(page, form)
    client.post(page, {**form, "max_lookahead": "2"})
    alice.endpoint.refresh_from_db()
    assert alice.endpoint.max_lookahead == 4


def test_the_chart_tells_when_a_version_went_live(alice: Tenant) -> None:
    found = signed_in(alice).get(reverse("web:endpoint-series", args=[alice.project.id, alice.endpoint.id])).json()
    assert [change["label"] for change in found["versions"]] == ["v1"]
    assert found["points"][0]["version"] == "static" and found["points"][-1]["version"] == "v1"
    assert found["points"][-1]["acceptance_length"] == pytest.approx(2.5)
    assert "acceptance length 2.50 at 62 tokens/s per request with v1; acceptance length 1.60" in found["summary"]


def test_a_point_never_spans_two_versions(alice: Tenant) -> None:
    windows = list(alice.endpoint.windows.filter(endpoint=alice.endpoint, arm="adaptive").order_by("ended_at"))
    assert {point.speculator_version_id for point in points(windows, steps_per_point=10_000)} == {
        None,
        alice.version.id,
    }


def test_a_versions_evidence_is_on_its_page(alice: Tenant) -> None:
    page = signed_in(alice).get(reverse("web:speculator", args=[alice.project.id, alice.speculator.id]))
    assert "static (now)" in page.content.decode()


def test_rolling_back_by_hand(alice: Tenant) -> None:
    page = reverse("web:speculator-action", args=[alice.project.id, alice.speculator.id])
    signed_in(alice).post(page, {"action": "rollback"})
    assert speculators.active_version_ref(alice.endpoint) is None


def test_the_endpoint_list_asks_the_same_number_of_queries_for_any_number_of_endpoints(alice: Tenant) -> None:
    client, page = signed_in(alice), reverse("web:endpoints", args=[alice.project.id])
    client.get(page)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(page)
        return len(captured)

    before = queries()
    model = CatalogueModel.objects.get(id="smollm2-135m-instruct")
    for number in range(5):
        endpoints.create_endpoint(alice.project, name=f"more-{number}", model=model, actor=alice.user.id)
    assert queries() == before


def test_signing_in_and_out(alice: Tenant) -> None:
    client = Client()
    alice.user.set_password(PASSWORD)
    alice.user.save()
    wrong = client.post("/sign-in", {"login": alice.user.email, "password": "wrong"})
    assert wrong.status_code == 200 and b'role="alert"' in wrong.content
    assert client.post("/sign-in", {"login": alice.user.email, "password": PASSWORD}).status_code == 302
    assert client.get("/").headers["Location"].endswith(alice.project.id)
    client.post("/sign-out")
    assert client.get("/").headers["Location"].startswith("/sign-in")


def test_a_form_with_a_nul_character_is_refused(alice: Tenant) -> None:
    client = signed_in(alice)

    assert client.post(f"/projects/{alice.project.id}/keys", {"name": "a\x00b"}).status_code == 404
    form = {"name": "new", "model": "a\x00b", "speculation_mode": "off"}
    assert client.post(f"/projects/{alice.project.id}/endpoints", form).status_code == 404


@pytest.mark.parametrize("before", ["²", "9" * 50, "9" * 5000, "-1", ""])
def test_an_unreadable_place_in_the_audit_log_shows_its_newest_events(alice: Tenant, before: str) -> None:
    answer = signed_in(alice).get(f"/organizations/{alice.organization.id}/audit", {"before": before})

    assert answer.status_code == 200
