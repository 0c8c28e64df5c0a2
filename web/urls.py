"""One path for each page. A project's pages name the project, so that a link means the same for everybody."""

from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from web.views import (
    audit,
    data_policy,
    endpoints,
    invitations,
    keys,
    organization,
    overview,
    runs,
    session,
    speculators,
    usage,
    webhooks,
)

app_name = "web"

urlpatterns = [
    path("", require_safe(session.home), name="home"),
    path("start", session.start, name="start"),
    path("account", session.account, name="account"),
    path("invitations/<str:token>", invitations.arrive, name="invitation"),
    path("join", invitations.join, name="join"),
    path("switch", require_safe(session.switch), name="switch"),
    path("projects/<str:project_id>", require_safe(overview.overview), name="overview"),
    path("projects/<str:project_id>/endpoints", endpoints.index, name="endpoints"),
    path("projects/<str:project_id>/endpoints/<str:endpoint_id>", require_safe(endpoints.detail), name="endpoint"),
    path(
        "projects/<str:project_id>/endpoints/<str:endpoint_id>/series",
        require_safe(endpoints.series),
        name="endpoint-series",
    ),
    path(
        "projects/<str:project_id>/endpoints/<str:endpoint_id>/action",
        require_POST(endpoints.action),
        name="endpoint-action",
    ),
    path("projects/<str:project_id>/speculators", require_safe(speculators.index), name="speculators"),
    path(
        "projects/<str:project_id>/speculators/<str:speculator_id>", require_safe(speculators.detail), name="speculator"
    ),
    path(
        "projects/<str:project_id>/speculators/<str:speculator_id>/action",
        require_POST(speculators.action),
        name="speculator-action",
    ),
    path("projects/<str:project_id>/training-runs", require_safe(runs.index), name="runs"),
    path("projects/<str:project_id>/training-runs/<str:run_id>", runs.detail, name="run"),
    path("projects/<str:project_id>/keys", keys.index, name="keys"),
    path("projects/<str:project_id>/usage", require_safe(usage.usage), name="usage"),
    path("projects/<str:project_id>/data-policy", data_policy.detail, name="data-policy"),
    path("organizations/<str:organization_id>/statement", require_safe(usage.statement), name="statement"),
    path("organizations/<str:organization_id>/members", organization.members, name="members"),
    path("organizations/<str:organization_id>/audit", require_safe(audit.index), name="audit"),
    path("organizations/<str:organization_id>/webhooks", webhooks.index, name="webhooks"),
    path("organizations/<str:organization_id>/webhooks/<str:webhook_id>", webhooks.detail, name="webhook"),
    path("nodes", require_safe(organization.nodes), name="nodes"),
]
