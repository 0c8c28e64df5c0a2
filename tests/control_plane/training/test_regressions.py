import pytest

from control_plane.endpoints.models import SpeculationWindow
from control_plane.speculators.regression import RegressionPolicy
from control_plane.speculators.selectors import active_version
from control_plane.speculators.services import set_frozen
from control_plane.training.regressions import watch_regressions
from tests.control_plane.learning import ACTOR, add_window, make_tenant, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return make_tenant()


def test_a_live_regression_rolls_back_to_the_version_before(tenant):
    first, second = make_version(tenant, state="active"), make_version(tenant, state="active")
    add_window(tenant, "adaptive", second, steps=2000, accepted=200)
    add_window(tenant, "static", None, steps=1000, accepted=900)
    assert [version.pk for version in watch_regressions(RegressionPolicy())] == [second.pk]
    second.refresh_from_db()
    assert second.state == "quarantined" and "below the evaluated 3.00" in second.state_message
    assert active_version(tenant.speculator).pk == first.pk


def test_a_healthy_version_and_a_frozen_one_are_left_alone(tenant):
    version = make_version(tenant, state="active")
    add_window(tenant, "adaptive", version, steps=500, accepted=1000)
    assert watch_regressions(RegressionPolicy()) == []
    add_window(tenant, "static", None, steps=1000, accepted=900)
    SpeculationWindow.objects.filter(endpoint=tenant.endpoint, arm="adaptive").update(accepted=0)
    set_frozen(tenant.speculator, True, actor=ACTOR)
    assert watch_regressions(RegressionPolicy()) == []


def test_windows_of_another_version_say_nothing(tenant):
    first, second = make_version(tenant, state="active"), make_version(tenant, state="active")
    add_window(tenant, "adaptive", first, steps=2000, accepted=0)
    assert watch_regressions(RegressionPolicy()) == []
    assert active_version(tenant.speculator).pk == second.pk
