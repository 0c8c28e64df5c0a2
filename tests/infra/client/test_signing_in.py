"""How a terminal gets its key, or an operator's session."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.tenants.accounts import mark_verified
from control_plane.tenants.models import User
from tests.control_plane.node import FakeNode
from tests.control_plane.tenant import Tenant
from tests.infra.client.shell import Shell, Typed, code_from_the_mail

pytestmark = pytest.mark.django_db(transaction=True)


def test_signing_in_stores_a_key_that_works_and_signing_out_forgets_it(
    shell: Shell, alice: Tenant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SLIPSTREAM_API_KEY")
    assert shell("whoami").status == 4
    assert shell("login", stdin="sls_not_a_service_key\n").status == 2
    assert shell("login", stdin="slm_000000000000_nonsense\n").status == 4
    assert shell("login", stdin=f"{alice.service_key_text}\n").status == 0
    assert (tmp_path / "config" / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert shell.json("whoami")["organizations"][0]["id"] == alice.organization.id
    assert alice.service_key_text not in shell("whoami").out
    assert shell("logout").status == 0
    assert shell("whoami").status == 4


def test_a_stranger_signs_up_and_signs_in_again_with_nothing_but_the_command_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPSTREAM_API_KEY")
    password = "a long password of dora's"
    typed = Typed(password, "WRONG-CODE")
    assert shell("sign-up", "--email", "dora@example.com", "--organization", "Dora's", stdin=typed).status == 2
    typed = Typed(password, code_from_the_mail)
    signed_up = shell("sign-up", "--email", "emil@example.com", "--organization", "Emil's", "--json", stdin=typed)
    assert signed_up.json["name"] == "Emil's"
    assert password not in signed_up.out + signed_up.err
    key = shell.json("service-keys", "list")["data"][0]
    assert (key["role"], key["name"].startswith("slipstream on ")) == ("owner", True)
    assert shell.json("projects", "create", "first")["name"] == "first"

    assert shell("logout").status == 0
    assert shell("whoami").status == 4
    assert shell("login", "--email", "emil@example.com", stdin="the wrong password\n").status == 2
    assert shell("login", "--email", "emil@example.com", stdin=f"{password}\n").status == 0
    keys = {found["id"]: found for found in shell.json("service-keys", "list")["data"]}
    assert keys[key["id"]]["revoked_at"], "logging out revoked the terminal's own key"
    assert shell.json("projects", "show")["name"] == "first"


def test_an_operator_keeps_a_session_because_only_people_operate_the_service(
    shell: Shell, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPSTREAM_API_KEY")
    password = "a long password of olga's"
    user = User.objects.create_user("olga@example.com", password, is_staff=True)
    mark_verified(user)
    signed_in = shell("login", "--email", "olga@example.com", "--as-person", stdin=f"{password}\n")
    assert signed_in.status == 0, signed_in.err
    node = FakeNode()
    node.heartbeat()
    assert shell.json("nodes", "list")["data"][0]["id"] == node.id
    assert shell.json("nodes", "show", node.id)["name"] == node.name
    assert shell.json("nodes", "cordon", node.id)["state"] == "cordoned"
    assert shell.json("nodes", "uncordon", node.id)["state"] != "cordoned"
    assert shell.json("nodes", "placements", node.id)["data"][0]["project_id"] == alice.project.id
    assert shell("nodes", "drain", node.id).status == 2, "nobody is there to confirm"
    assert shell.json("nodes", "drain", node.id, "--yes")["desired"] == "drained"
    assert shell.json("nodes", "events", node.id)["data"]
    assert shell("nodes", "capacity").status == 0
    token = shell.json("node-tokens", "create", "--node-name", "node-9")
    assert token["token"]
    assert shell.json("node-tokens", "list")["data"][0]["id"] == token["id"]
    assert shell("node-tokens", "revoke", token["id"]).status == 0
    assert {"node.cordon", "node_token.create"} <= {event["action"] for event in shell.json("nodes", "audit")["data"]}
    assert shell("logout").status == 0
    assert shell("nodes", "list").status == 4
