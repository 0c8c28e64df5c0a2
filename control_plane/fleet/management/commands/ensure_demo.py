"""`manage.py ensure_demo`: a demo tenant to try the service with. Safe to repeat.

Prints one JSON object. Secrets (password, management_key, api_key) are in it only when this call made them.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from control_plane.billing.models import Price
from control_plane.billing.services import create_price
from control_plane.endpoints.models import CatalogueModel, Endpoint
from control_plane.endpoints.services import create_endpoint
from control_plane.tenants.accounts import mark_verified
from control_plane.tenants.models import ApiKey, Membership, Organization, Project, ServiceKey, User
from control_plane.tenants.principal import principal_of_user
from control_plane.tenants.service_accounts import create_service_key
from control_plane.tenants.services import create_api_key, create_organization, create_project

EMAIL = "demo@slipstream.example"
NAME = "Demo"
ENDPOINT = "assistant"


class Command(BaseCommand):
    help = "Create the demo organization, its keys, the catalogue's model with a price, and an endpoint, if missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--model",
            default=os.environ.get("SLIPSTREAM_MODEL_NAME", "smollm2-135m-instruct"),
            help="folder of the target model below SLIPSTREAM_MODELS_DIR; also its id in the catalogue",
        )
        parser.add_argument("--context", type=int, help="tokens that its nodes take, if fewer than the model could")

    def handle(self, *arguments: Any, **options: Any) -> None:
        with transaction.atomic():
            self.stdout.write(json.dumps(ensure_demo(options["model"], options["context"])))


def ensure_demo(model_id: str, context: int | None = None) -> dict[str, str | None]:
    user, password = _user()
    organization = Organization.objects.filter(
        id__in=Membership.objects.filter(user=user).values("organization")
    ).first() or create_organization(NAME, owner=user)
    project = Project.objects.filter(organization=organization).order_by("id").first() or create_project(
        organization, name=NAME, actor=user.id
    )
    model = _model(model_id, context)
    endpoint = Endpoint.objects.filter(project=project, name=ENDPOINT).exclude(desired_state="deleted").first()
    if endpoint is None:
        endpoint = create_endpoint(project, name=ENDPOINT, model=model, actor=user.id)
    return {
        "organization_id": organization.id,
        "project_id": project.id,
        "endpoint_id": endpoint.id,
        "endpoint": endpoint.name,
        "model": model.id,
        "email": user.email,
        "password": password,
        "management_key": _management_key(user, organization),
        "api_key": _api_key(user, project),
    }


def _user() -> tuple[User, str | None]:
    user = User.objects.filter(email=EMAIL).first()
    if user is not None:
        return user, None
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(EMAIL, password, name=NAME, is_staff=True)
    mark_verified(user)
    return user, password


def _model(model_id: str, context: int | None) -> CatalogueModel:
    """The catalogue's row, filled from the model's own folder; free of surprises: a small price on every token."""
    found = CatalogueModel.objects.filter(pk=model_id).first()
    if found is None:
        config = _config(settings.SLIPSTREAM_MODELS_DIR / model_id / "config.json")
        length = config["max_position_embeddings"]
        length = length if context is None else min(context, length)
        found = CatalogueModel(id=model_id, name=model_id, folder=model_id, context_length=length)
        found.full_clean()
        found.save(force_insert=True)
    if not Price.objects.filter(model=found).exists():
        since = datetime(2024, 1, 1, tzinfo=UTC)
        create_price(found, effective_from=since, prompt=20_000, cached=5_000, completion=60_000, actor="ensure_demo")
    return found


def _config(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        found["max_position_embeddings"] = int(found["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is not the configuration of a model: {error!r}") from error
    return found


def _management_key(user: User, organization: Organization) -> str | None:
    if ServiceKey.objects.filter(organization=organization, name=NAME, revoked_at=None).exists():
        return None
    _, text = create_service_key(organization, name=NAME, role="owner", principal=principal_of_user(user))
    return text


def _api_key(user: User, project: Project) -> str | None:
    if ApiKey.objects.filter(project=project, name=NAME, revoked_at=None).exists():
        return None
    _, text = create_api_key(project, name=NAME, actor=user.id)
    return text
