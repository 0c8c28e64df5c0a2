"""A node's whole desired state, built from all apps below."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from control_plane.endpoints.models import ROLLOUT_ENDED, Deployment, Endpoint, Rollout
from control_plane.fleet.models import Node
from control_plane.speculators.models import TrafficPolicy
from control_plane.speculators.selectors import (
    active_version_refs,
    as_contract,
    pinned_version_refs,
    traffic_policy_rows,
)
from control_plane.tenants.models import ApiKey, NodeSnapshot, Placement, Project
from dataplane import contracts

# A node holds hundreds of projects: only what a snapshot says is read of them.
_OF_PROJECT = (
    "organization_id",
    "cache_salt",
    "requests_per_minute",
    "tokens_per_minute",
    "max_concurrent_requests",
)
_OF_DEPLOYMENT = (
    "endpoint_id",
    "number",
    "active",
    "weight",
    "speculation_mode",
    "max_lookahead",
    "holdout_rate",
    "speculator_version_id",
)


@transaction.atomic
def build(node: Node) -> contracts.Snapshot:
    """Everything about the projects that are placed on the node, as committed up to one generation.

    The node's row is locked while the content is read: whoever changes the content advances that row in the same
    transaction (tenants/placements.py), so the content can't be older than the generation says, nor half of a change.
    """
    rows = NodeSnapshot.objects.select_for_update(no_key=True).filter(pk=node.pk)
    generation = rows.values_list("generation", flat=True).first() or 0
    desired = Node.objects.values_list("desired", flat=True).get(pk=node.pk)
    rows_here = Placement.objects.filter(node=node.pk).only("project_id", "is_resident", "leaving_since")
    placed = {row.project_id: row for row in rows_here}
    rows_of_model = Endpoint.objects.filter(project__in=placed, model_id=node.model).exclude(desired_state="deleted")
    endpoints = list(rows_of_model.only("project_id", "model_id", "name", "desired_state").order_by("id"))
    project_ids = sorted(placed)
    policies = traffic_policy_rows(project_ids)
    versions = active_version_refs(project_ids)
    deployments = _deployments(endpoints)
    named = {row.speculator_version_id for rows in deployments.values() for row in rows if row.speculator_version_id}
    pinned = pinned_version_refs(project_ids, named)

    def speculator(endpoint: Endpoint, deployment: Deployment) -> contracts.SpeculatorRef | None:
        if not placed[endpoint.project_id].is_resident:
            return None
        if deployment.speculator_version_id is not None:
            return pinned.get(deployment.speculator_version_id)
        return versions.get((endpoint.project_id, endpoint.model_id))

    return contracts.Snapshot(
        node_id=node.id,
        generation=generation,
        issued_at=_rfc3339(timezone.now()),
        draining=desired == "drained",
        projects=tuple(
            _project(project, policies.get(project.id) or TrafficPolicy(end_user_key=""), placed[project.id])
            for project in Project.objects.unscoped().filter(id__in=project_ids).only(*_OF_PROJECT).order_by("id")
        ),
        keys=_keys(project_ids),
        endpoints=tuple(_endpoint(endpoint, deployments[endpoint.id], speculator) for endpoint in endpoints),
    )


def _deployments(endpoints: list[Endpoint]) -> dict[str, list[Deployment]]:
    """What nodes must know of each endpoint: its active deployment, first; and the others that serve a share of the
    requests or are to serve one."""
    coming = Rollout.objects.filter(endpoint__in=endpoints).exclude(state__in=ROLLOUT_ENDED).values("target")
    rows = Deployment.objects.filter(Q(active=True) | Q(weight__gt=0) | Q(pk__in=coming), endpoint__in=endpoints)
    found: dict[str, list[Deployment]] = {}
    for row in rows.only(*_OF_DEPLOYMENT).order_by("endpoint_id", "-active", "number"):
        found.setdefault(row.endpoint_id, []).append(row)
    return found


def _endpoint(
    endpoint: Endpoint,
    deployments: list[Deployment],
    speculator: Callable[[Endpoint, Deployment], contracts.SpeculatorRef | None],
) -> contracts.EndpointConfig:
    active = deployments[0]
    return contracts.EndpointConfig(
        endpoint_id=endpoint.id,
        project_id=endpoint.project_id,
        deployment_id=active.id,
        name=endpoint.name,
        model=endpoint.model_id,
        speculation_mode=active.speculation_mode,  # type: ignore[arg-type]
        max_lookahead=active.max_lookahead,
        holdout_rate=active.holdout_rate,
        speculator=speculator(endpoint, active),
        enabled=endpoint.desired_state == "running",
        deployments=tuple(
            contracts.DeploymentConfig(
                deployment_id=row.id,
                weight=row.weight,
                speculation_mode=row.speculation_mode,  # type: ignore[arg-type]
                max_lookahead=row.max_lookahead,
                holdout_rate=row.holdout_rate,
                speculator=speculator(endpoint, row),
            )
            for row in deployments
            if len(deployments) > 1  # one alone is what the endpoint itself says
        ),
    )


def _project(project: Project, policy: TrafficPolicy, placement: Placement) -> contracts.ProjectConfig:
    return contracts.ProjectConfig(
        project_id=project.id,
        organization_id=project.organization_id,
        cache_salt=project.cache_salt,
        traffic=as_contract(policy),
        end_user_key=policy.end_user_key,
        end_user_erasures=policy.end_user_erasures,
        streaming=contracts.StreamCoalescing(
            mode=policy.stream_coalescing,  # type: ignore[arg-type]
            tokens=policy.coalesce_tokens,
            milliseconds=policy.coalesce_milliseconds,
        ),
        leaving=placement.leaving_since is not None,
        limits=contracts.Limits(
            requests_per_minute=project.requests_per_minute,
            tokens_per_minute=project.tokens_per_minute,
            max_concurrent_requests=project.max_concurrent_requests,
        ),
    )


def _keys(project_ids: list[str]) -> tuple[contracts.KeyDigest, ...]:
    """Digests of the keys that work; nodes check the expiry themselves."""
    live = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    rows = ApiKey.objects.filter(live, project__in=project_ids, revoked_at=None).order_by("id")
    return tuple(
        contracts.KeyDigest(
            key_id=key_id,
            project_id=project_id,
            digest=digest,
            pepper_id=pepper_id,
            expires_at=_rfc3339(expires_at) if expires_at else None,
            scopes=tuple(scopes),
            endpoints=tuple(endpoints),
            allowed_ips=tuple(allowed_ips),
        )
        for key_id, project_id, digest, pepper_id, expires_at, scopes, endpoints, allowed_ips in rows.values_list(
            "id", "project_id", "digest", "pepper_id", "expires_at", "scopes", "endpoints", "allowed_ips"
        )
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
