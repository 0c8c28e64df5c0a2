"""One-time tokens, names, credentials: who may become a node, and stay one."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from control_plane.fleet.models import Node, NodeToken, OperatorEvent
from control_plane.fleet.registration import OVERLAP
from tests.control_plane.node import BASE, FakeNode, register
from tests.control_plane.tenant import Api, Tenant
from tests.control_plane.tenants.people import let_sudo_run_out

pytestmark = pytest.mark.django_db

FIRST, SECOND, THIRD = ("a" * 43, "b" * 43, "c" * 43)


def _token(operator: Api, **body: Any) -> Any:
    answer = operator.post("/api/v1/node-tokens", body)
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_token_is_shown_once_and_stored_as_a_digest(operator: Api) -> None:
    made = _token(operator, node_name="node-1")
    row = NodeToken.objects.get(pk=made["id"])
    assert made["token"] not in (row.public_id, row.digest)
    read = operator.get(f"/api/v1/node-tokens/{made['id']}")
    assert made["token"] not in read.content.decode()
    assert (read.json()["state"], read.json()["node_name"]) == ("open", "node-1")


def test_dangerous_acts_need_a_recent_authentication(operator: Api) -> None:
    node = FakeNode()
    let_sudo_run_out(operator)
    for path in ("node-tokens", f"nodes/{node.id}/drain", f"nodes/{node.id}/revoke-credential"):
        answer = operator.post(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    assert operator.post(f"/api/v1/nodes/{node.id}/cordon").status_code == 202


def test_a_token_registers_one_node(operator: Api) -> None:
    made = _token(operator)
    first = register(made["token"], name="one")
    assert first.status_code == 201
    second = register(made["token"], name="two")
    assert (second.status_code, second.json()["code"]) == (403, "token_used")
    shown = operator.get(f"/api/v1/node-tokens/{made['id']}").json()
    assert (shown["state"], shown["used_by"]) == ("used", first.json()["node_id"])


def test_a_token_is_for_its_node_and_its_model(operator: Api) -> None:
    made = _token(operator, node_name="one", model="tiny-llama")
    assert register(made["token"], name="two").json()["code"] == "bad_token"
    assert register(made["token"], name="one", model="other").json()["code"] == "bad_token"
    assert register(made["token"], name="one").status_code == 201


def test_an_expired_or_revoked_token_registers_nothing(operator: Api) -> None:
    expired, revoked = _token(operator), _token(operator)
    NodeToken.objects.filter(pk=expired["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert operator.delete(f"/api/v1/node-tokens/{revoked['id']}").json()["state"] == "revoked"
    for token in (expired, revoked):
        assert register(token["token"]).json()["code"] == "bad_token"
    assert not Node.objects.exists()


@pytest.mark.parametrize("seconds", [0, 59, 24 * 3600 + 1])
def test_a_token_lives_for_a_minute_to_a_day(operator: Api, seconds: int) -> None:
    answer = operator.post("/api/v1/node-tokens", {"valid_seconds": seconds})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/valid_seconds")


def test_a_refused_registration_uses_no_token_up(operator: Api) -> None:
    FakeNode("taken")
    made = _token(operator)
    assert register(made["token"], name="taken").json()["code"] == "name_in_use"
    assert register(made["token"], name="free").status_code == 201


def test_a_name_is_free_once_its_node_is_lost_drained_or_revoked(operator: Api) -> None:
    node = FakeNode()
    assert register(name=node.name).status_code == 409
    for state in ("lost", "drained"):
        Node.objects.update(state=state)
        again = register(name=node.name, boot_id=f"boot-{state}")
        assert (again.status_code, again.json()["node_id"]) == (201, node.id)
        assert node.snapshot().status_code == 401
    assert operator.post(f"/api/v1/nodes/{node.id}/revoke-credential").json()["state"] == "lost"
    assert register(name=node.name, boot_id="boot-9").status_code == 201


def test_a_registration_whose_answer_was_lost_can_be_repeated(operator: Api) -> None:
    token = _token(operator)["token"]
    answers = [register(token, credential=FIRST) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert register(token, credential=SECOND).json()["code"] == "token_used"
    assert Node.objects.count() == 1


@pytest.mark.parametrize("credential", ["short", "x" * 201, "ü" * 50, "a b" * 20])
def test_a_credential_that_can_be_guessed_or_stored_by_nobody_is_refused_by_name(credential: str) -> None:
    assert register(credential=credential).json()["errors"][0]["pointer"] == "/credential"


def _with(node: FakeNode, credential: str) -> Api:
    return Api(authorization=f"Node {node.id}:{credential}")


def _snapshot(node: FakeNode, credential: str) -> int:
    status: int = _with(node, credential).get(f"{BASE}/{node.id}/snapshot").status_code
    return status


def test_a_changed_credential_works_at_once_and_the_one_before_for_a_while() -> None:
    node = FakeNode()
    for _ in range(2):  # an answer that was lost
        assert node.api.post(f"{BASE}/{node.id}/credential", {"credential": SECOND}).json() == {"overlap_seconds": 600}
    assert (_snapshot(node, node.credential), _snapshot(node, SECOND), _snapshot(node, THIRD)) == (200, 200, 401)
    Node.objects.update(previous_credential_until=timezone.now())
    assert (_snapshot(node, node.credential), _snapshot(node, SECOND)) == (401, 200)
    assert OVERLAP.total_seconds() == 600


def test_a_revoked_credential_says_so_and_ends_both(operator: Api) -> None:
    node = FakeNode()
    node.api.post(f"{BASE}/{node.id}/credential", {"credential": SECOND})
    operator.post(f"/api/v1/nodes/{node.id}/revoke-credential")
    answer = _with(node, SECOND).get(f"{BASE}/{node.id}/snapshot")
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_revoked")
    assert _snapshot(node, node.credential) == 401


def test_what_operators_do_is_recorded_for_good(alice: Tenant, operator: Api) -> None:
    made = _token(operator, node_name="n")
    operator.delete(f"/api/v1/node-tokens/{made['id']}")
    node = FakeNode()
    operator.post(f"/api/v1/nodes/{node.id}/cordon")
    operator.post(f"/api/v1/nodes/{node.id}/revoke-credential")
    events = operator.get("/api/v1/operator-events").json()["data"]
    actions = [event["action"] for event in events if event["actor"] != "test"]
    assert actions == ["node.revoke_credential", "node.cordon", "node_token.revoke", "node_token.create"]
    assert made["token"] not in str(events)
    assert alice.api.get("/api/v1/operator-events").status_code == 403
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        OperatorEvent.objects.all().delete()


def test_the_command_leaves_one_open_token_in_a_private_file(tmp_path: Any) -> None:
    path = tmp_path / "token"
    for _ in range(2):
        call_command("node_token", "--name", "local", "--out", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(token.state for token in NodeToken.objects.all()) == ["open", "revoked"]
    assert register(path.read_text(), name="local").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_that_use_a_token_at_once_one_is_registered() -> None:
    from control_plane.fleet.registration import create_token

    _, token = create_token(actor="test")
    answers: list[int] = []

    def run(number: int) -> None:
        answers.append(register(token, name=f"node-{number}", credential=FIRST).status_code)
        connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [403] * 5
    assert Node.objects.count() == 1
