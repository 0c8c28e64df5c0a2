"""One ordinary organization, made by the services that the API calls; it is then multiplied (multiply.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

MODELS = 50
PROJECTS, ENDPOINTS, KEYS, VERSIONS, RUNS, SEGMENTS, WINDOWS = 10, 2, 3, 4, 4, 6, 6
INVITATIONS, DELIVERIES = 3, 6
ACTOR = "usr_bench"


@dataclass(frozen=True, slots=True)
class Template:
    organization_id: str  # typed
    organization: str  # uuid


def make_models() -> list[Any]:
    """The catalogue. Each model is served by one node, and by a fiftieth of the projects."""
    from django.utils import timezone

    from control_plane.billing.services import create_price
    from control_plane.endpoints.models import CatalogueModel

    made = []
    for number in range(MODELS):
        model, _ = CatalogueModel.objects.get_or_create(
            id=f"bench-{number}", defaults={"name": f"Bench {number}", "folder": "bench", "context_length": 4096}
        )
        create_price(
            model,
            effective_from=timezone.now() - timedelta(days=365),
            prompt=100_000,
            cached=10_000,
            completion=400_000,
            actor=ACTOR,
        )
        made.append(model)
    return made


def make_organization(model: Any) -> Template:
    """PROJECTS projects, each with ENDPOINTS endpoints, KEYS keys, VERSIONS versions and RUNS runs."""
    from control_plane.common.ids import decode
    from control_plane.tenants.invitations import invite
    from control_plane.tenants.models import Membership, User
    from control_plane.tenants.principal import principal_of_user
    from control_plane.tenants.service_accounts import create_service_key
    from control_plane.tenants.services import create_organization, create_project

    owner = User.objects.create_user(f"owner-{uuid4().hex}@example.com")
    organization = create_organization("Bench", owner=owner)
    for role in ("admin", "developer", "viewer"):
        person = User.objects.create_user(f"{role}-{uuid4().hex}@example.com")
        Membership.objects.create(organization=organization, user=person, role=role)
    principal = principal_of_user(owner)
    for number in range(3):
        create_service_key(organization, name=f"key {number}", role="developer", principal=principal)
    for number in range(PROJECTS):
        _fill(create_project(organization, name=f"project {number}", actor=owner.id), model, number)
    for number in range(INVITATIONS):
        invite(organization, email=f"invited-{number}@example.com", role="viewer", principal=principal)
    _webhook(organization, owner.id)  # last: what happened before is announced to nobody
    return Template(organization.id, str(decode("org", organization.id)))


def _webhook(organization: Any, actor: str) -> None:
    """With deliveries that arrived and one that was given up."""
    from control_plane.webhooks.dispatch import GONE, settle
    from control_plane.webhooks.sender import Outcome
    from control_plane.webhooks.services import create_webhook, send_test

    webhook, _ = create_webhook(
        organization, url="https://receiver.example/hook", event_types=["endpoint.*"], actor=actor
    )
    deliveries = [send_test(webhook, actor=actor) for _ in range(DELIVERIES)]
    for delivery in deliveries[1:]:
        settle(delivery, Outcome(200, "", 40))
    settle(deliveries[0], Outcome(GONE, "status", 40, "gone"))


def _fill(project: Any, model: Any, number: int) -> None:
    from control_plane.common.states import transition
    from control_plane.endpoints.services import create_endpoint, update_endpoint
    from control_plane.speculators.services import ensure_speculator, promote, set_traffic_policy
    from control_plane.tenants.services import create_api_key
    from control_plane.training.erasure import request_erasure

    endpoints = [create_endpoint(project, name=f"endpoint-{n}", model=model, actor=ACTOR) for n in range(ENDPOINTS)]
    for endpoint in endpoints:
        for state in ("provisioning", "loading", "ready"):
            transition(endpoint, state, code="bench")
        _windows(endpoint)
    update_endpoint(endpoints[0], {"max_lookahead": 4}, actor=ACTOR)  # a rollout, and a second deployment
    for n in range(KEYS):
        create_api_key(project, name=f"key {n}", actor=ACTOR)
    if number == 0:
        request_erasure(project, actor=ACTOR)
    set_traffic_policy(project, capture=True, sample_rate=1.0, retention_days=30, actor=ACTOR)
    _segments(project)
    speculator = ensure_speculator(project, model.id)
    for _ in range(VERSIONS):
        promote(_version(speculator), actor=ACTOR)
    for _ in range(RUNS):
        _run(speculator)


def _version(speculator: Any) -> Any:
    import base64

    from control_plane.common.states import transition
    from control_plane.speculators.manifest import SigningKey
    from control_plane.speculators.services import Artifact, create_version

    key = SigningKey.from_base64(base64.b64encode(bytes(32)).decode(), "bench")
    arms = {name: {"acceptance_length": length} for name, length in (("candidate", 3.0), ("static", 2.0))}
    artifact = Artifact(
        sha256=uuid4().hex * 2,
        size_bytes=700_000,
        static_sha256="a" * 64,
        training_run_id=None,
        parent=None,
        sample_count=64,
        window_start=None,
        window_end=None,
        lineage={},
        consent={"capture": True},
        evaluation=arms,
        gate={"outcome": "accepted"},
    )
    version, _ = create_version(speculator, artifact, key=key)
    for state in ("verifying", "eligible"):
        transition(version, state)
    return version


def _run(speculator: Any) -> None:
    from control_plane.training.lease import claim
    from control_plane.training.models import RunState, TrainingRun
    from control_plane.training.services import start_run

    run: Any = start_run(speculator, trigger="manual", actor=ACTOR)
    lease = claim(run.id, seconds=60)
    assert lease is not None
    for state in (RunState.PREPARING, RunState.RUNNING, RunState.EVALUATING, RunState.REJECTED):
        lease.move(state)
    curve = {"loss_curve": [2.0, 1.5, 1.2], "train_seconds": 30.0}
    TrainingRun.objects.filter(project=speculator.project_id, pk=run.id).update(report=curve)


def _segments(project: Any) -> None:
    from django.utils import timezone

    from control_plane.training.models import TrafficSegment

    now = timezone.now()
    for n in range(SEGMENTS):
        TrafficSegment.objects.create(
            organization_id=project.organization_id,
            project=project,
            key=uuid4().hex,
            size_bytes=10_000,
            records=16,
            tokens=5000,
            first_at=now - timedelta(hours=n + 1),
            last_at=now - timedelta(hours=n),
        )


def _windows(endpoint: Any) -> None:
    from django.utils import timezone

    from control_plane.common.ids import new_id
    from control_plane.endpoints.models import SpeculationWindow

    for n in range(WINDOWS):
        end = timezone.now() - timedelta(minutes=n)
        SpeculationWindow.objects.create(
            organization_id=endpoint.organization_id,
            endpoint=endpoint,
            node_id=new_id("node"),
            arm="adaptive",
            started_at=end - timedelta(minutes=1),
            ended_at=end,
            requests=3,
            completion_tokens=100,
            decode_seconds=2.0,
            steps=50,
            drafted=150,
            accepted=50,
            per_position_drafted=[50, 50, 50],
            per_position_accepted=[30, 15, 5],
        )


def make_big(name: str) -> Template:
    """An organization without projects: copies of another's come into it."""
    from control_plane.common.ids import decode
    from control_plane.tenants.models import User
    from control_plane.tenants.services import create_organization

    owner = User.objects.create_user(f"{name.lower()}-{uuid4().hex}@example.com")
    organization = create_organization(name, owner=owner)
    return Template(organization.id, str(decode("org", organization.id)))


def ingest_one(made: Template) -> str:
    """One usage event, taken in as a node sends it; returns its id."""
    from django.utils import timezone

    from control_plane.billing.ingestion import ingest
    from control_plane.common.ids import new_id
    from control_plane.endpoints.models import Endpoint
    from control_plane.tenants.models import ApiKey

    endpoint = Endpoint.objects.filter(organization=made.organization_id).order_by("id")[0]
    key = ApiKey.objects.filter(project=endpoint.project_id).order_by("id")[0]
    now = timezone.now().isoformat()
    event = {
        "event_id": "evt_template",
        "organization_id": made.organization_id,
        "project_id": endpoint.project_id,
        "endpoint_id": endpoint.id,
        "deployment_id": "dep_1",
        "key_id": key.id,
        "model": endpoint.model_id,
        "status": "completed",
        "started_at": now,
        "finished_at": now,
        "prompt_tokens": 100,
        "cached_tokens": 10,
        "completion_tokens": 50,
        "steps": 20,
        "drafted": 60,
        "accepted": 30,
        "speculation_mode": "adaptive",
    }
    acknowledged = ingest(new_id("node"), [{"boot_id": "bench", "seq": 1, "event": event}])
    assert acknowledged == {"bench": 1}, acknowledged
    return "evt_template"
