"""The command line against a live control plane: every command that needs no node."""

from __future__ import annotations

import json
import re

import pytest
from django.core import mail

from control_plane.fleet.reconciler import reconcile
from control_plane.fleet.rollouts import advance
from control_plane.speculators.services import ensure_speculator
from tests.control_plane.tenant import MODEL, Tenant, make_tenant
from tests.infra.client.shell import Shell

pytestmark = pytest.mark.django_db(transaction=True)


def test_organizations_projects_and_members(shell: Shell, alice: Tenant) -> None:
    assert shell.json("organizations", "list")["data"][0]["id"] == alice.organization.id
    assert shell.json("organizations", "show")["name"] == "alice"
    assert shell.json("organizations", "update", "--name", "Alice's")["name"] == "Alice's"
    made = shell.json("projects", "create", "second", "--tokens-per-minute", "1000", "--use")
    assert made["tokens_per_minute"] == 1000
    assert shell.json("projects", "show")["id"] == made["id"], "--use remembers it"
    assert shell.json("projects", "update", "main", "--name", "first")["name"] == "first"
    assert {project["name"] for project in shell.json("projects", "list")["data"]} == {"first", "second"}
    assert shell.json("projects", "use", "first")["name"] == "first"
    assert shell.json("members", "list")["data"][0]["email"] == "alice@example.com"


def test_keys(shell: Shell, alice: Tenant) -> None:
    made = shell.json("keys", "create", "laptop", "--environment", "test")
    assert made["key"].startswith("sls_test_")
    shown = shell.json("keys", "show", made["id"])
    assert "key" not in shown
    rotated = shell.json("keys", "rotate", made["id"], "--overlap-seconds", "0")
    assert rotated["id"] != made["id"]
    assert shell("keys", "revoke", rotated["id"]).status == 2, "nobody is there to confirm"
    assert shell("keys", "revoke", rotated["id"], "--yes").status == 0
    assert shell.json("keys", "show", rotated["id"])["revoked_at"]
    assert made["id"] in {key["id"] for key in shell.json("keys", "list")["data"]}
    narrowing = ("--endpoint", "assistant", "--scope", "inference:read", "--allowed-ip", "::1")
    narrow = shell.json("keys", "create", "n", *narrowing)
    assert (narrow["endpoints"], narrow["scopes"]) == (["assistant"], ["inference:read"])
    assert narrow["allowed_ips"] == ["::1/128"]
    assert shell("keys", "create", "n", "--endpoint", "nobody").status == 3
    service = shell.json("service-keys", "create", "ci", "--role", "viewer", "--scope", "endpoint:read")
    assert service["scopes"] == ["endpoint:read"]
    assert shell("service-keys", "revoke", service["id"], "--yes").status == 0
    assert service["id"] in {key["id"] for key in shell.json("service-keys", "list")["data"]}


def test_service_accounts_and_invitations(shell: Shell, alice: Tenant) -> None:
    account = shell.json("service-accounts", "create", "deployer", "--role", "developer")
    made = shell.json("service-keys", "create", "ci", "--account", account["id"])
    assert (made["service_account_id"], made["role"]) == (account["id"], "developer")
    assert shell.json("service-keys", "rotate", made["id"])["key"].startswith("slm_")
    assert shell.json("service-accounts", "disable", account["id"], "--yes")["disabled_at"]
    assert shell.json("service-accounts", "enable", account["id"])["disabled_at"] is None
    assert account["id"] in {row["id"] for row in shell.json("service-accounts", "list")["data"]}
    assert shell.json("service-accounts", "show", account["id"])["name"] == "deployer"

    invited = shell.json("invitations", "create", "dora@example.com", "--role", "viewer")
    link = re.search(r"https?://\S+/invitations/\S+", str(mail.outbox[-1].body))
    assert invited["state"] == "pending" and link is not None
    assert shell("invitations", "accept", link[0]).status == 4, "a key joins nothing"
    shell.json("invitations", "resend", invited["id"])
    assert shell.json("invitations", "revoke", invited["id"])["state"] == "revoked"
    assert shell.json("invitations", "list")["data"][0]["id"] == invited["id"]
    table = {row["permission"]: row["roles"] for row in shell.json("members", "permissions")["data"]}
    assert table["organization:security"] == ["owner"]


def test_endpoints(shell: Shell, alice: Tenant) -> None:
    assert MODEL in {model["id"] for model in shell.json("models", "list")["data"]}
    assert shell.json("models", "show", MODEL)["context_length"] == 256
    made = shell.json("endpoints", "create", "helper", "--model", MODEL, "--speculation-mode", "static")
    assert made["state"] == "pending"
    assert shell.json("endpoints", "show", "helper")["id"] == made["id"]
    changed = shell.json("endpoints", "update", "helper", "--max-lookahead", "3")
    assert (changed["max_lookahead"], changed["speculation_mode"]) == (3, "static")
    assert shell.json("endpoints", "stop", "helper")["desired_state"] == "stopped"
    assert shell.json("endpoints", "start", "helper")["desired_state"] == "running"
    assert shell("endpoints", "events", "helper").status == 0
    assert shell("endpoints", "create", "helper", "--model", MODEL).status == 5
    assert shell.json("endpoints", "delete", "helper", "--yes")["desired_state"] == "deleted"


def test_deployments_and_rollouts(shell: Shell, alice: Tenant) -> None:
    assert shell("endpoints", "rollback", "assistant", "--yes").status == 5, "there is nothing to return to"
    changed = shell.json("endpoints", "update", "assistant", "--max-lookahead", "3", "--max-replicas", "2")
    assert (changed["max_lookahead"], changed["max_replicas"]) == (3, 2)
    listed = shell.json("deployments", "list", "assistant")["data"]
    assert [row["weight_percent"] for row in listed] == [100.0, 0.0]
    assert shell.json("deployments", "show", listed[0]["id"])["active"] is True
    assert shell.json("endpoints", "rollback", "assistant", "--yes", "--wait")["trigger"] == "rollback"
    assert shell.json("endpoints", "show", "assistant")["max_lookahead"] == 8
    steps = ("--steps", "10,100", "--observe-seconds", "1", "--min-requests", "5")
    made = shell.json("rollouts", "start", "assistant", "--speculation-mode", "static", *steps)
    assert (made["strategy"], made["steps_percent"], made["state"]) == ("canary", [10.0, 100.0], "surging")
    assert shell("rollouts", "start", "assistant", "--max-lookahead", "1").status == 5, "one at a time"
    assert shell("rollouts", "start", "assistant", "--steps", "ten").status == 2
    assert shell.json("rollouts", "list", "assistant")["data"][0]["id"] == made["id"]
    assert shell.json("rollouts", "pause", made["id"])["state"] == "paused"
    assert shell.json("rollouts", "resume", made["id"])["state"] == "surging"
    assert shell.json("rollouts", "promote", made["id"], "--yes")["hurried"] is True
    assert shell.json("rollouts", "abort", made["id"], "--yes", "--reason", "enough")["state"] == "aborting"
    advance()
    assert shell.json("rollouts", "show", made["id"])["state_reason"]["message"] == "enough"
    assert shell("rollouts", "show", made["id"]).status == 0
    assert shell("rollouts", "watch", made["id"]).status == 0
    assert {"paused", "aborted"} <= {e["to_state"] for e in shell.json("rollouts", "events", made["id"])["data"]}
    canary = shell.json("endpoints", "update", "assistant", "--max-lookahead", "2", "--strategy", "canary")
    assert canary["rollout_id"] and canary["max_lookahead"] == 8, "the policy changes when the rollout completes"


def test_an_endpoint_is_deleted_and_brought_back(shell: Shell, alice: Tenant) -> None:
    assert shell("endpoints", "delete", "assistant", "--yes").status == 0
    reconcile()
    assert shell.json("endpoints", "list")["data"] == []
    (gone,) = shell.json("endpoints", "list", "--deleted")["data"]
    assert shell("endpoints", "list", "--deleted").status == 0
    shell("endpoints", "create", "assistant", "--model", MODEL)
    assert shell("endpoints", "undelete", gone["id"]).status == 5, "its name is taken"
    back = shell.json("endpoints", "undelete", gone["id"], "--name", "assistant-1")
    assert (back["name"], back["desired_state"]) == ("assistant-1", "running")


def test_the_catalogue_and_an_estimate(shell: Shell) -> None:
    assert shell.json("models", "list")["data"][0]["availability"]["ready_nodes"] == 0
    assert shell.json("models", "hardware")["data"][0]["id"] == "cpu"
    load = (MODEL, "--requests", "1000", "--prompt-tokens", "500", "--completion-tokens", "100")
    assert shell.json("models", "estimate", *load)["total_pico_dollars"] == 0
    assert "no price yet" in shell("models", "estimate", *load).out


def test_a_dry_run_shows_what_would_be_and_changes_nothing(shell: Shell, alice: Tenant) -> None:
    would_be = shell.json("endpoints", "create", "helper", "--model", MODEL, "--dry-run", "--wait")
    assert would_be["name"] == "helper"
    assert shell("endpoints", "show", "helper").status == 3
    assert shell("endpoints", "delete", "assistant", "--dry-run").status == 0
    assert shell.json("endpoints", "show", "assistant")["desired_state"] == "running"
    assert shell("keys", "create", "x", "--save", "--dry-run").status == 0
    assert shell.json("keys", "list")["data"][0]["id"] == alice.api_key.id
    assert shell("endpoints", "create", "assistant", "--model", MODEL, "--dry-run").status == 5


def test_a_wait_that_takes_too_long_has_its_own_status(shell: Shell) -> None:
    ran = shell("endpoints", "start", "assistant", "--wait", "--timeout", "1")
    assert ran.status == 8
    assert "after 1 s, not yet ready" in ran.err


def test_traffic(shell: Shell) -> None:
    assert shell.json("traffic", "policy")["capture"] is False
    assert shell.json("traffic", "set", "--capture", "--retention-days", "7")["capture"] is True
    kept = shell.json("traffic", "set", "--sample-rate", "0.5")
    assert (kept["capture"], kept["sample_rate"], kept["retention_days"]) == (True, 0.5, 7), "what isn't named stays"
    assert shell.json("traffic", "show")["records"] == 0
    masked = shell.json("traffic", "set", "--redaction", "mask", "--memory-scope", "end_user")
    assert (masked["redaction"], masked["memory_scope"], masked["capture"]) == ("mask", "end_user", True)
    assert shell("traffic", "export").out == ""
    person = shell.json("traffic", "delete", "--end-user", "jane@example.com", "--yes")
    assert person["end_user_id"].startswith("eu_")
    receipt = shell.json("traffic", "delete", "--yes")
    assert receipt["id"] in {found["id"] for found in shell.json("traffic", "receipts")["data"]}


def test_speculators_and_runs(shell: Shell, alice: Tenant) -> None:
    ensure_speculator(alice.project, MODEL)
    speculator = shell.json("speculators", "list")["data"][0]["id"]
    assert shell.json("speculators", "show")["id"] == speculator
    assert shell.json("speculators", "freeze", speculator)["frozen"] is True
    assert shell.json("speculators", "thaw", speculator)["frozen"] is False
    assert shell.json("speculators", "versions")["data"] == []
    assert shell.json("speculators", "set-policy", speculator, "--promotion", "manual")["promotion"] == "manual"
    kept = shell.json("speculators", "set-policy", "--min-gain", "0.1")
    assert (kept["promotion"], kept["min_gain"]) == ("manual", 0.1), "what isn't named stays"
    assert shell.json("speculators", "policy")["min_gain"] == 0.1
    assert "frozen" in {event["kind"] for event in shell.json("speculators", "events")["data"]}
    assert shell("speculators", "rollback", "--yes").status == 5, "there is nothing to roll back"
    assert shell("runs", "start").status == 5, "nobody consented"
    assert shell.json("runs", "estimate")["refusal"]
    shell("traffic", "set", "--capture")
    run = shell.json("runs", "start")
    assert shell("runs", "start").status == 5, "one at a time"
    assert shell.json("runs", "show", run["id"])["trigger"] == "manual"
    assert shell.json("runs", "list")["data"][0]["id"] == run["id"]
    assert shell.json("runs", "cancel", run["id"], "--wait")["state"] == "cancelled"
    assert shell.json("runs", "watch")["state"] == "cancelled"
    assert shell.json("runs", "events", run["id"])["data"]


def test_money_and_audit(shell: Shell, alice: Tenant) -> None:
    assert shell.json("usage", "--group-by", "endpoint,day")["data"] == []
    assert shell.json("statement")["total_cents"] == 0
    assert shell("statement", "--csv").out.startswith("model,")
    assert shell.json("prices")["data"] == []
    shell("projects", "create", "audited")
    events = shell.json("audit", "list", "--action", "project.create")["data"]
    assert {event["action"] for event in events} == {"project.create"}
    assert len(shell("audit", "export").out.splitlines()) == shell.json("audit", "verify")["checked"]


def test_any_operation_can_be_called_by_its_path(shell: Shell, alice: Tenant) -> None:
    found = shell("api", "GET", "/projects", "-q", f"organization_id={alice.organization.id}").json
    assert found["data"][0]["id"] == alice.project.id
    body = json.dumps({"organization_id": alice.organization.id, "name": "by path"})
    assert shell("api", "post", "/api/v1/projects", "--data", body).json["name"] == "by path"
    assert shell("api", "POST", "/projects", "--data", "{").status == 2


def test_errors_name_the_field_the_code_and_the_request_and_have_a_status(shell: Shell) -> None:
    wrong = shell("endpoints", "create", "Not A Slug", "--model", MODEL)
    assert wrong.status == 2
    assert "/name" in wrong.err
    assert "request " in wrong.err
    assert "Traceback" not in wrong.err
    assert shell("endpoints", "show", "nobody").status == 3
    assert shell("keys", "show", "key_00000000000000000000000000").status == 3
    assert shell("nodes", "list").status == 4, "only operators see nodes"
    assert shell("endpoints", "lst").status == 2


def test_another_organization_is_as_if_it_were_absent(shell: Shell) -> None:
    bob = make_tenant("bob")
    assert shell("endpoints", "show", bob.endpoint.id).status == 3
    assert shell("projects", "show", bob.project.id).status == 3
    assert shell("endpoints", "delete", bob.endpoint.id, "--yes").status == 3
    bob.endpoint.refresh_from_db()
    assert bob.endpoint.desired_state == "running"


def test_tables_are_plain_text_when_piped(shell: Shell, alice: Tenant) -> None:
    lines = shell("endpoints", "list").out.splitlines()
    assert lines[0].split()[:3] == ["ID", "NAME", "STATE"]
    assert lines[1].split()[:2] == [alice.endpoint.id, "assistant"]
    assert "\x1b" not in "".join(lines)


def test_several_candidates_are_named_instead_of_guessed(shell: Shell, alice: Tenant) -> None:
    shell("projects", "create", "second")
    ran = shell("keys", "create", "x")
    assert ran.status == 2
    assert alice.project.id in ran.err


def test_webhooks(shell: Shell) -> None:
    made = shell.json("webhooks", "create", "https://hooks.example/slipstream", "--event", "endpoint.ready")
    assert made["secret"].startswith("whsec_")
    assert "secret" not in shell.json("webhooks", "show", made["id"])
    delivery = shell.json("webhooks", "test", made["id"])
    assert shell.json("webhooks", "deliveries", made["id"])["data"][0]["id"] == delivery["id"]
    assert shell.json("webhooks", "delivery", delivery["id"])["event_id"] == delivery["event_id"]
    assert shell("webhooks", "replay", delivery["id"]).status == 5, "it is still to be sent the first time"
    assert shell.json("webhooks", "update", made["id"], "--disable")["enabled"] is False
    rotated = shell.json("webhooks", "rotate-secret", made["id"], "--overlap-seconds", "60")
    assert rotated["secret"] != made["secret"]
    assert shell("webhooks", "create", "https://hooks.example/", "--event", "no.such.event").status == 2
    assert shell("webhooks", "delete", made["id"], "--yes").status == 0
    assert shell.json("webhooks", "list")["data"] == []
