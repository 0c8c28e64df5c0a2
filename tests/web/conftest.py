"""Two tenants with everything that a page can show, made through the services that the API calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from control_plane.common.ids import new_id
from control_plane.common.states import transition
from control_plane.endpoints import deployments, rollouts
from control_plane.endpoints import services as endpoints
from control_plane.endpoints.models import CatalogueModel, Endpoint, Rollout, SpeculationWindow
from control_plane.endpoints.rollout_plan import DEFAULTS, Move
from control_plane.speculators import services as speculators
from control_plane.speculators.models import Speculator, SpeculatorVersion, VersionState
from control_plane.tenants import services as tenants
from control_plane.tenants.accounts import mark_verified
from control_plane.tenants.invitations import invite
from control_plane.tenants.models import ApiKey, Invitation, Organization, Project, User
from control_plane.tenants.principal import principal_of_user
from control_plane.training.models import RunState, TrainingRun
from control_plane.webhooks import services as webhooks
from control_plane.webhooks.models import Webhook, WebhookDelivery

PASSWORD = "a long enough pass phrase"


@dataclass(frozen=True, slots=True)
class Tenant:
    user: User
    organization: Organization
    project: Project
    endpoint: Endpoint
    speculator: Speculator
    version: SpeculatorVersion
    run: TrainingRun
    key: ApiKey
    webhook: Webhook
    delivery: WebhookDelivery
    invitation: Invitation


def window(endpoint: Endpoint, minutes_ago: float, *, version: str | None, accepted: int, **values: Any) -> None:
    """One minute of adaptive requests: 50 steps, 2 s of decoding."""
    end = timezone.now() - timedelta(minutes=minutes_ago)
    SpeculationWindow.objects.create(
        **{
            "organization_id": endpoint.organization_id,
            "endpoint": endpoint,
            "node_id": new_id("node"),
            "arm": "adaptive",
            "speculator_version_id": version,
            "started_at": end - timedelta(minutes=1),
            "ended_at": end,
            "requests": 3,
            "completion_tokens": 50 + accepted,
            "decode_seconds": 2.0,
            "steps": 50,
            "drafted": 150,
            "accepted": accepted,
            "per_position_drafted": [50, 50, 50],
            "per_position_accepted": [accepted - accepted // 2, accepted // 3, accepted // 2 - accepted // 3],
            "drafted_by_source": {"static": 100, "memory": 50},
            "accepted_by_source": {"static": accepted // 2, "memory": accepted - accepted // 2},
            **values,
        }
    )


def make_version(speculator: Speculator, *, number: int, run: TrainingRun) -> SpeculatorVersion:
    arms = {"static": {"acceptance_length": 1.7}, "candidate": {"acceptance_length": 2.4}}
    version = SpeculatorVersion.objects.create(
        organization_id=speculator.organization_id,
        project_id=speculator.project_id,
        speculator=speculator,
        number=number,
        state=VersionState.ELIGIBLE,
        training_run_id=run.id,
        sha256="0" * 64,
        size_bytes=700_000,
        static_sha256="1" * 64,
        artifact_key="projects/x/speculators/0.safetensors",
        manifest_key="projects/x/manifests/0.json",
        manifest_sha256="2" * 64,
        sample_count=64,
        consent={"capture": True, "retention_days": 30},
        evaluation=arms,
        gate={"accept": True, "reason": "Held-out acceptance length 2.40 against 1.70 static."},
    )
    return speculators.promote(version, actor="system", message="Passed the gate.")


def make_tenant(name: str, password: str | None = None) -> Tenant:
    user = User.objects.create_user(f"{name}@example.com", password)
    mark_verified(user)
    organization = tenants.create_organization(f"{name} Ltd", owner=user)
    project = tenants.create_project(organization, name=f"{name}-project", actor=user.id)
    model, _ = CatalogueModel.objects.get_or_create(
        id="smollm2-135m-instruct",
        defaults={"name": "SmolLM2 135M Instruct", "folder": "smollm2-135m-instruct", "context_length": 8192},
    )
    endpoint = endpoints.create_endpoint(project, name=f"{name}-desk", model=model, actor=user.id)
    speculators.set_traffic_policy(project, capture=True, sample_rate=1.0, retention_days=30, actor=user.id)
    speculator = speculators.ensure_speculator(project, model.id)
    run = TrainingRun.objects.create(
        organization_id=organization.id,
        project=project,
        speculator=speculator,
        trigger="traffic",
        state=RunState.SUCCEEDED,
        state_message="Version 1 is live.",
        finished_at=timezone.now(),
        report={
            "arms": {
                "static": {"acceptance_length": 1.7, "steps": 60, "tokens": 102},
                "candidate": {"acceptance_length": 2.4, "steps": 43, "tokens": 103},
            },
            "loss_curve": [2.0, 1.4, 1.1, 0.9],
            "num_train_records": 64,
            "num_train_tokens": 5120,
            "num_heldout_records": 12,
            "train_seconds": 31.5,
            "greedy_identical": True,
        },
        gate={"accept": True, "reason": "Held-out acceptance length 2.40 against 1.70 static."},
    )
    version = make_version(speculator, number=1, run=run)
    for minutes in range(20, 10, -1):
        window(endpoint, minutes, version=None, accepted=30)
    for minutes in range(10, 0, -1):
        window(endpoint, minutes, version=version.id, accepted=75)
    window(endpoint, 2, version=None, accepted=32, arm="static")
    key, _ = tenants.create_api_key(project, name=f"{name} key", actor=user.id)
    url = f"https://{name}.example.com/in"
    webhook, _ = webhooks.create_webhook(organization, url=url, event_types=["*"], actor=user.id)
    delivery = transition(webhooks.send_test(webhook, actor=user.id), "delivered", next_attempt_at=None)
    invitation = invite(
        organization, email=f"{name}-friend@example.com", role="viewer", principal=principal_of_user(user)
    )
    return Tenant(user, organization, project, endpoint, speculator, version, run, key, webhook, delivery, invitation)


@transaction.atomic
def make_rollout(tenant: Tenant) -> Rollout:
    """A canary in its second step, whose new deployment is slower."""
    spec = deployments.changed(deployments.active_deployment(tenant.endpoint), {"max_lookahead": 4})
    assert spec is not None
    rollout = rollouts.start(tenant.endpoint, spec, DEFAULTS["canary"], actor=tenant.user.id)
    for move in (Move("shifting", "x", "", 2), Move("observing", "x", "25 % of the requests are shifted.")):
        rollouts.apply(rollout, move)
    measures = [
        {"name": "errors", "before": 0.01, "after": 0.012, "change": 0.002, "bound": -0.02, "limit": 0.02},
        {"name": "first_token", "before": 0.21, "after": 0.22, "change": 0.048, "bound": -0.1, "limit": 0.25},
        {"name": "per_token", "before": 0.02, "after": 0.031, "change": 0.55, "bound": 0.31, "limit": 0.1},
    ]
    rollout.evidence = {
        "before": {"requests": 640, "failed": 6},
        "after": {"requests": 212, "failed": 3},
        "measures": [measure | {"worse": measure["name"] == "per_token"} for measure in measures],
        "reason": "x",
        "requests_in_step": 120,
    }
    rollout.save(update_fields=["evidence"])
    return rollout


@pytest.fixture
def alice(db: None) -> Tenant:
    return make_tenant("alice")


@pytest.fixture
def bob(db: None) -> Tenant:
    return make_tenant("bob")
