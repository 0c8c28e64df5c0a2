"""All paths: the management API, the nodes' API, and health; the dashboard at the root."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from control_plane.common.health import live, ready

urlpatterns = [
    path("healthz", live),
    path("readyz", ready),
    path("api/v1/", include("control_plane.tenants.api")),
    path("api/v1/", include("control_plane.tenants.members_api")),
    path("api/v1/", include("control_plane.tenants.service_api")),
    path("api/v1/", include("control_plane.tenants.audit_api")),
    path("api/v1/", include("control_plane.endpoints.api")),
    path("api/v1/", include("control_plane.billing.api")),
    path("api/v1/", include("control_plane.fleet.api")),
    path("api/v1/", include("control_plane.fleet.operator_api")),
    path("api/v1/", include("control_plane.fleet.rollout_api")),
    path("api/v1/", include("control_plane.fleet.catalogue_api")),
    path("internal/v1/nodes/", include("control_plane.fleet.node_api")),
    path("api/v1/", include("control_plane.speculators.api")),
    path("api/v1/", include("control_plane.speculators.adaptation_api")),
    path("api/v1/", include("control_plane.training.api")),
    path("api/v1/", include("control_plane.webhooks.api")),
    path("api/v1/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("web.account_urls")),
    path("", include("web.urls")),
]

handler400 = "control_plane.common.problems.bad_request_page"
handler404 = "control_plane.common.problems.not_found_page"
handler500 = "control_plane.common.problems.server_error_page"
