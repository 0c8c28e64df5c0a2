"""A speculator's policy, its history, and its versions side by side and as files."""

import urllib.request

import pytest

from control_plane.common.errors import Invalid
from control_plane.common.object_store import object_store
from control_plane.speculators import services
from control_plane.speculators.comparison import compare
from control_plane.speculators.models import Speculator
from control_plane.speculators.policy import SpeculatorPolicy, policy_of, set_policy
from control_plane.speculators.services import ensure_speculator
from control_plane.speculators.timeline import history
from control_plane.tenants.models import AuditEvent
from tests.control_plane import learning
from tests.control_plane.tenant import api_with_role

pytestmark = pytest.mark.django_db


@pytest.fixture
def learner(alice):
    return learning.Tenant(alice.project, alice.endpoint, ensure_speculator(alice.project, alice.endpoint.model_id))


def test_a_policy_is_replaced_whole_shown_and_audited(alice, learner):
    path = f"/api/v1/speculators/{learner.speculator.id}/policy"
    given = alice.api.put(path, {"promotion": "manual", "min_gain": 0.1, "every_hours": 24})
    assert given.status_code == 200 and given.json() == alice.api.get(path).json()
    assert given.json()["promotion"] == "manual" and given.json()["confidence"] is None
    alice.api.put(path, {"strategy": "canary"})
    shown = alice.api.get(f"/api/v1/speculators/{learner.speculator.id}").json()["policy"]
    assert (shown["promotion"], shown["strategy"], shown["min_gain"]) == ("auto", "canary", None)
    event = AuditEvent.objects.filter(organization=alice.organization).order_by("-number").first()
    assert event.action == "speculator.policy" and event.changes["promotion"] == ["manual", "auto"]


def test_the_same_policy_again_changes_nothing(learner):
    for _ in range(2):
        set_policy(learner.speculator, SpeculatorPolicy(every_hours=3), actor="x")
    assert history(learner.speculator).count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("promotion", "never"), ("strategy", "x"), ("min_gain", -0.1), ("confidence", 0.4), ("confidence", 1.0),
     ("min_heldout_records", 1), ("max_drop", 0.0), ("every_hours", 0), ("every_hours", 721)],
)  # fmt: skip
def test_a_policy_out_of_bounds_names_its_field(alice, learner, field, value):
    answer = alice.api.put(f"/api/v1/speculators/{learner.speculator.id}/policy", {field: value})
    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == f"/{field}"
    with pytest.raises(Invalid) as error:
        set_policy(learner.speculator, SpeculatorPolicy(**{field: value}), actor="x")
    assert error.value.pointer == f"/{field}"
    learner.speculator.refresh_from_db()
    assert policy_of(learner.speculator) == SpeculatorPolicy()


def test_the_history_tells_what_happened_newest_first(alice, learner):
    first, second = (learning.make_version(learner, state="active") for _ in range(2))
    services.rollback(learner.speculator, actor="usr_x", message="Too slow.", quarantine=True)
    services.set_frozen(learner.speculator, True, actor="usr_x")
    services.retire(first, actor="usr_x", code="retired", message="Old.")
    events = alice.api.get(f"/api/v1/speculators/{learner.speculator.id}/events").json()["data"]
    assert [(event["kind"], event["speculator_version_id"]) for event in events] == [
        ("retired", first.id), ("frozen", None), ("regressed", second.id), ("promoted", second.id),
        ("promoted", first.id),
    ]  # fmt: skip


def test_a_version_is_retired_by_hand_once_and_the_static_speculator_takes_over(alice, learner):
    version = learning.make_version(learner, state="active")
    path = f"/api/v1/speculator-versions/{version.id}/retire"
    answer = alice.api.post(path, {"reason": "Learned from a test."})
    assert answer.json()["state"] == "retired"
    assert answer.json()["state_reason"]["message"] == "Learned from a test."
    assert alice.api.get(f"/api/v1/speculators/{learner.speculator.id}").json()["active_version_id"] is None
    assert alice.api.post(path, {}).status_code == 409


def test_two_versions_are_compared_on_their_own_held_out_traffic_and_live(alice, learner):
    first, second = (learning.make_version(learner, state="active", candidate=length) for length in (3.0, 2.5))
    learning.add_window(learner, "adaptive", first, steps=100, accepted=150)
    answer = alice.api.get(f"/api/v1/speculator-versions/{second.id}/compare?with={first.id}").json()
    assert answer["version"]["gain_over_static"] == pytest.approx(0.25)
    assert answer["other"]["gain_over_static"] == pytest.approx(0.5)
    assert answer["other"]["live"]["acceptance_length"] == 2.5
    low, high = answer["other"]["live"]["interval"]
    assert low < 2.5 < high
    assert answer["version"]["live"]["acceptance_length"] is None
    assert answer["same_static"] is True and answer["is_ancestor"] is False
    assert alice.api.get(f"/api/v1/speculator-versions/{second.id}/compare").json()["other"] is None


def test_versions_of_two_speculators_are_not_compared(alice, learner):
    other = Speculator.objects.create(
        organization=alice.organization, project=alice.project, model=learning.make_tenant("x").endpoint.model
    )
    theirs = learning.make_version(learning.Tenant(alice.project, alice.endpoint, other))
    with pytest.raises(Invalid):
        compare(learning.make_version(learner), theirs)


def test_an_export_is_the_artifact_and_its_manifest_and_is_audited(alice, learner, s3_settings):
    version, store = learning.make_version(learner), object_store()
    store.put(version.artifact_key, b"weights")
    store.put(version.manifest_key, b"{}")
    answer = alice.api.get(f"/api/v1/speculator-versions/{version.id}/export")
    assert answer.status_code == 200
    files = answer.json()["files"]
    assert [urllib.request.urlopen(file["url"], timeout=10).read() for file in files] == [b"weights", b"{}"]
    assert files[0]["sha256"] == version.sha256 and files[0]["name"].endswith("-v1.safetensors")
    event = AuditEvent.objects.filter(organization=alice.organization).order_by("-number").first()
    assert (event.action, event.target) == ("speculator_version.export", version.id)


def test_viewers_export_nothing_and_what_is_purged_is_gone(alice, learner, s3_settings):
    version = learning.make_version(learner)
    path = f"/api/v1/speculator-versions/{version.id}/export"
    assert api_with_role(alice, "viewer").get(path).status_code == 403
    assert api_with_role(alice, "developer").get(path).status_code == 200
    type(version).objects.filter(project=alice.project).update(state="purged")
    assert alice.api.get(path).status_code == 409
