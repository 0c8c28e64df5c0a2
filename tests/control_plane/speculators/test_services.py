import threading

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.common.errors import Conflict, Invalid
from control_plane.common.states import transition
from control_plane.speculators import services
from control_plane.speculators.models import (
    PROMOTABLE,
    VERSION_TRANSITIONS,
    SpeculatorVersion,
    SpeculatorVersionEvent,
    VersionState,
)
from control_plane.speculators.selectors import active_version, active_version_ref, traffic_policy_of
from control_plane.tenants.models import AuditEvent
from control_plane.tenants.placements import generation_of
from dataplane.contracts import TrafficPolicy
from tests.control_plane.learning import ACTOR, make_tenant, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return make_tenant()


def test_without_a_policy_there_is_no_consent(tenant):
    assert traffic_policy_of(tenant.project) == TrafficPolicy(capture=False)


def test_consent_reaches_nodes_and_is_audited(tenant):
    before = generation_of(tenant.project.id)
    tenant.consent(sample_rate=0.5, retention_days=7)
    assert traffic_policy_of(tenant.project) == TrafficPolicy(True, 0.5, 7)
    assert generation_of(tenant.project.id) == before + 1
    event = AuditEvent.objects.filter(organization=tenant.project.organization).order_by("-number").first()
    assert event.action == "traffic_policy.update" and event.changes["capture"] == [False, True]


def test_setting_the_same_policy_again_changes_nothing(tenant):
    tenant.consent()
    before = generation_of(tenant.project.id)
    tenant.consent()
    assert generation_of(tenant.project.id) == before


@pytest.mark.parametrize("bad", [{"sample_rate": 1.1}, {"sample_rate": -0.1}, {"retention_days": 0}])
def test_a_policy_out_of_range_is_refused_with_its_field(tenant, bad):
    with pytest.raises(Invalid) as error:
        tenant.consent(**bad)
    assert error.value.pointer == "/" + next(iter(bad))


def test_promotion_supersedes_the_version_before_and_bumps_the_generation(tenant):
    first, second = make_version(tenant, state="active"), make_version(tenant)
    before = generation_of(tenant.project.id)
    services.promote(second, actor=ACTOR)
    first.refresh_from_db()
    assert (first.state, second.state) == ("superseded", "active")
    assert generation_of(tenant.project.id) == before + 1
    assert active_version_ref(tenant.endpoint).speculator_version_id == second.id


def test_promoting_the_active_version_is_no_change(tenant):
    version = make_version(tenant, state="active")
    before = generation_of(tenant.project.id)
    services.promote(version, actor=ACTOR)
    assert generation_of(tenant.project.id) == before


def test_two_active_versions_cannot_be_stored(tenant):
    make_version(tenant, state="active")
    other = make_version(tenant)
    with pytest.raises(IntegrityError), transaction.atomic():
        SpeculatorVersion.objects.filter(project=tenant.project, pk=other.pk).update(state="active")


def test_a_state_outside_of_the_table_cannot_be_stored(tenant):
    version = make_version(tenant)
    with pytest.raises(IntegrityError), transaction.atomic():
        SpeculatorVersion.objects.filter(project=tenant.project, pk=version.pk).update(state="perfect")


def test_a_version_of_another_projects_speculator_cannot_be_stored(tenant):
    other = make_tenant("globex")
    version = make_version(tenant)
    with pytest.raises(IntegrityError), transaction.atomic():
        SpeculatorVersion.objects.filter(project=tenant.project, pk=version.pk).update(speculator=other.speculator)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_events_are_append_only(tenant):
    version = make_version(tenant)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        SpeculatorVersionEvent.objects.filter(subject=version).update(message="nothing happened")


def test_rollback_returns_to_the_last_good_version(tenant):
    first, second = make_version(tenant, state="active"), make_version(tenant, state="active")
    assert services.rollback(tenant.speculator, actor=ACTOR, message="too slow").pk == first.pk
    second.refresh_from_db()
    assert second.state == "superseded" and second.state_message == "too slow"


def test_rollback_without_a_version_before_leaves_static_alone(tenant):
    version = make_version(tenant, state="active")
    assert services.rollback(tenant.speculator, actor=ACTOR, message="bad", quarantine=True) is None
    version.refresh_from_db()
    assert version.state == "quarantined" and active_version_ref(tenant.endpoint) is None
    with pytest.raises(Conflict):
        services.rollback(tenant.speculator, actor=ACTOR, message="again")


def test_a_quarantined_version_never_comes_back(tenant):
    first = make_version(tenant, state="active")
    make_version(tenant, state="active")
    services.rollback(tenant.speculator, actor=ACTOR, message="regressed", quarantine=True)
    assert active_version(tenant.speculator).pk == first.pk
    assert services.rollback(tenant.speculator, actor=ACTOR, message="also this one") is None


def test_rollback_of_an_expected_version_does_nothing_when_another_is_active(tenant):
    first, second = make_version(tenant, state="active"), make_version(tenant, state="active")
    with pytest.raises(Conflict):
        services.rollback(tenant.speculator, actor=ACTOR, message="late", expected=first)
    assert active_version(tenant.speculator).pk == second.pk


def test_pinning_promotes_and_freezes(tenant):
    version = make_version(tenant)
    services.pin(version, actor=ACTOR)
    tenant.speculator.refresh_from_db()
    assert version.state == "active" and tenant.speculator.frozen


def test_retiring_the_active_version_tells_the_nodes(tenant):
    version = make_version(tenant, state="active")
    before = generation_of(tenant.project.id)
    services.retire(version, actor=ACTOR, code="test", message="")
    assert active_version_ref(tenant.endpoint) is None and generation_of(tenant.project.id) == before + 1


def test_another_projects_version_never_serves_an_endpoint(tenant):
    other = make_tenant("globex")
    make_version(tenant, state="active")
    assert active_version_ref(other.endpoint) is None


@given(st.lists(st.sampled_from([*VersionState]), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_transitions_follow_the_table_and_each_leaves_one_event(tenant, path):
    version = make_version(tenant)
    for to in path:
        count = version.events.count()
        if to in VERSION_TRANSITIONS[version.state]:
            taken = to == VersionState.ACTIVE and active_version(tenant.speculator) is not None
            if taken:
                continue
            transition(version, to)
            assert version.events.count() == count + 1
        else:
            with pytest.raises(Conflict):
                transition(version, to)
            assert version.events.count() == count
    if version.state == VersionState.ACTIVE:
        services.retire(version, actor=ACTOR, code="done", message="")


def test_only_promotable_states_can_be_promoted(tenant):
    version = make_version(tenant)
    transition(version, VersionState.RETIRED)
    assert VersionState.RETIRED not in PROMOTABLE
    with pytest.raises(Conflict):
        services.promote(version, actor=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_concurrent_promotions_leave_exactly_one_active_version():
    tenant = make_tenant()
    versions = [make_version(tenant) for _ in range(4)]
    barrier = threading.Barrier(len(versions))

    def promote(version):
        try:
            barrier.wait()
            services.promote(SpeculatorVersion.objects.get(project=tenant.project, pk=version.pk), actor=ACTOR)
        finally:
            connection.close()

    threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = sorted(SpeculatorVersion.objects.filter(project=tenant.project).values_list("state", flat=True))
    assert states == ["active", "superseded", "superseded", "superseded"]
