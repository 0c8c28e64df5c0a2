"""Organizations, projects, people, keys, and the append-only record of changes."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from control_plane.common.ids import TypedIdField
from control_plane.common.scoping import TenantModel
from control_plane.tenants.permissions import ROLES


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **values: Any) -> User:
        user = self.model(email=email.strip().lower(), **values)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser):
    """A person. `is_staff` people are operators of the service: they see nodes, never tenants' content."""

    id = TypedIdField("usr", primary_key=True)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True, default="")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(email=Lower("email")), name="user_email_lower")]

    def __str__(self) -> str:
        return self.email


class Organization(TenantModel):
    """Who pays."""

    tenant_columns = ("id",)

    id = TypedIdField("org", primary_key=True)
    name = models.CharField(max_length=120)
    # Members without a second factor see nothing of the organization.
    requires_second_factor = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


def _cache_salt() -> str:
    return secrets.token_hex(16)


class Project(TenantModel):
    """What isolates traffic, keys and speculators. `cache_salt` keeps its prefix cache apart from all others."""

    id = TypedIdField("prj", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="projects")
    name = models.CharField(max_length=120)
    cache_salt = models.CharField(max_length=64, default=_cache_salt, editable=False)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    max_concurrent_requests = models.PositiveIntegerField(null=True, blank=True)
    # The snapshot generation of the last change that nodes must know (tenants/placements.py).
    generation = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="project_name_unique"),
            # The target of composite foreign keys: a row can't name a project of another organization.
            models.UniqueConstraint(fields=["organization", "id"], name="project_organization_id"),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(TenantModel):
    id = TypedIdField("mem", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    created_at = models.DateTimeField(default=timezone.now)

    tenant_columns = ("organization", "user")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_unique"),
            models.CheckConstraint(condition=Q(role__in=ROLES), name="membership_role"),
        ]


class Invitation(TenantModel):
    """Somebody is asked to join. Whoever has the mailed token finds it; only who has shown that mail to the address
    reaches them can accept it (`services.accept_invitation`)."""

    id = TypedIdField("inv", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=ROLES), name="invitation_role"),
            models.CheckConstraint(condition=Q(email=Lower("email")), name="invitation_email_lower"),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | Q(revoked_at=None), name="invitation_accepted_or_revoked"
            ),
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_open_unique",
            ),
        ]

    @property
    def state(self) -> str:
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "revoked"
        return "pending" if self.expires_at > timezone.now() else "expired"


class Key(TenantModel):
    """What both kinds of key store: the public part, and an HMAC of the whole key; the key itself is never stored."""

    public_id = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    pepper_id = models.CharField(max_length=32)
    last_four = models.CharField(max_length=4)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


INFERENCE_SCOPES = ("inference:read", "inference:write")


def inference_scopes() -> list[str]:
    return list(INFERENCE_SCOPES)


class ApiKey(Key):
    """A project's key for inference. Nodes get its digest only, and with it what the key is for.

    endpoints: the names of those that it may call; empty: all of the project's. allowed_ips: networks (CIDR) that it
    may be used from; empty: everywhere.
    """

    tenant_columns = ("organization", "project")

    id = TypedIdField("key", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, models.CASCADE, related_name="api_keys")
    environment = models.CharField(max_length=8, default="live")
    scopes = models.JSONField(default=inference_scopes)
    endpoints = models.JSONField(default=list)
    allowed_ips = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(environment__in=["live", "test"]), name="api_key_environment"),
            # The target of composite foreign keys: usage can't name a key of another project.
            models.UniqueConstraint(fields=["project", "id"], name="api_key_project_id"),
        ]


class ServiceAccount(TenantModel):
    """A program that belongs to an organization and has a role in it. Disabled, none of its keys opens anything."""

    id = TypedIdField("sva", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="service_accounts")
    name = models.CharField(max_length=120)
    role = models.CharField(max_length=16, choices=[(role, role) for role in ROLES])
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=64, blank=True, default="")
    disabled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=ROLES), name="service_account_role"),
            # The target of composite foreign keys: a key can't be of another organization's account.
            models.UniqueConstraint(fields=["organization", "id"], name="service_account_organization_id"),
        ]


class ServiceKey(Key):
    """A service account's key for the management API: the account's role, narrowed by scopes if there are any."""

    id = TypedIdField("svk", primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="service_keys")
    account = models.ForeignKey(ServiceAccount, models.CASCADE, related_name="keys")
    scopes = models.JSONField(default=list, help_text="Permissions; empty: all that the role has.")
    allowed_ips = models.JSONField(default=list, help_text="Networks (CIDR) that it may be used from; empty: all.")
    last_used_at = models.DateTimeField(null=True, blank=True)

    @property
    def role(self) -> str:
        return self.account.role


class AuditEvent(TenantModel):
    """Who changed what. A trigger refuses UPDATE and DELETE; each event holds the hash of the one before it."""

    id = TypedIdField("aud", primary_key=True)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="audit_events")
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=64)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=64)
    changes = models.JSONField(default=dict)
    request_id = models.CharField(max_length=40, blank=True, default="")
    previous_sha256 = models.CharField(max_length=64, blank=True)
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "number"], name="audit_event_number")]


class IdempotencyRecord(models.Model):
    """The answer to a POST, stored in the transaction of its effect (`common/idempotency.py`).

    needs: what the answer required of the actor, and its replay requires again (`Principal.needs`).
    """

    id = models.BigAutoField(primary_key=True)
    actor = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True)
    needs = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["actor", "key"], name="idempotency_record_unique")]


class NodeSnapshot(models.Model):
    """The generation of what one node should run. The node itself is the fleet's (`fleet.models.Node`, same id)."""

    node_id = TypedIdField("node", primary_key=True)
    generation = models.PositiveBigIntegerField(default=0)


class Placement(TenantModel):
    """A node serves a project: a change of the project concerns this node. Operators' data, about tenants.

    generation: the node's generation that brought the project; a node that has applied it serves the project.
    leaving_since: routes don't name the node for this project any more; it serves whoever still comes.
    is_resident: the node has room for the project's own speculator version; without it the static one serves.
    """

    tenant_columns = ("organization", "project", "node")

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, models.CASCADE, related_name="placements")
    node = models.ForeignKey(NodeSnapshot, models.CASCADE, related_name="placements")
    generation = models.PositiveBigIntegerField()
    placed_at = models.DateTimeField(default=timezone.now)
    leaving_since = models.DateTimeField(null=True, blank=True)
    is_resident = models.BooleanField(default=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "node"], name="placement_unique")]
